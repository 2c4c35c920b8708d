"""The behaviour of customers on a day: sessions, payments, support tickets and plan changes."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from simulator.customers import (
    DEVICES,
    METHODS,
    NOTICE_DAYS,
    PLANS,
    PRICES,
    Array,
    Customers,
    pick,
)

SECTIONS = ("home", "catalogue", "live", "library", "account")
TOPICS = ("technical", "billing", "content", "account")
PRIORITIES = ("low", "normal", "high")
KINDS = ("subscription", "addon", "refund")
STATUSES = ("paid", "failed")

_WEEKDAYS = np.log([0.9, 0.88, 0.9, 0.93, 1.02, 1.22, 1.2])
_HOURS = np.array([2, 1, 1, 1, 1, 2, 3, 5, 6, 5, 5, 5, 6, 5, 5, 5, 6, 8, 10, 12, 12, 10, 7, 4]) / 127
_SECTIONS = np.array([0.34, 0.28, 0.14, 0.24])
_FAILURE_RATE = np.array([0.05, 0.03, 0.08, 0.04])
_RETRY_DAYS, _RETRIES = 4, 2
_UNANSWERED = 0


@dataclass(frozen=True)
class Sessions:
    """The sessions of a day; ``at`` is the position of the customer, ``second`` the second of the day."""

    at: Array
    second: Array
    duration: Array
    device: Array
    section: Array
    pages: Array


@dataclass(frozen=True)
class Payments:
    """The transactions of a day; ``cents`` is never negative, including refunds."""

    at: Array
    second: Array
    cents: Array
    kind: Array
    status: Array
    method: Array


@dataclass(frozen=True)
class Tickets:
    """The support tickets of a day; a satisfaction of 0 means that none was given."""

    at: Array
    second: Array
    topic: Array
    priority: Array
    satisfaction: Array

    @property
    def complaint(self) -> Array:
        """Whether the ticket is a complaint: priority high, or a satisfaction of 1 or 2."""
        dissatisfied = (self.satisfaction != _UNANSWERED) & (self.satisfaction <= 2)
        complaint: Array = (self.priority == PRIORITIES.index("high")) | dissatisfied
        return complaint


def drift(customers: Customers, day: dt.date, rng: np.random.Generator) -> None:
    """Advance the unobserved state by one day: mood, declines of usage, pauses.

    Args:
        customers: The active customers; changed in place.
        day: The day.
        rng: The random numbers of the day.
    """
    count, today = len(customers), day.toordinal()
    customers.mood *= 0.97
    customers.mood += rng.normal(0, 0.1, count)
    starts = (customers.slope == 0) & (rng.random(count) < 0.004)
    ends = (customers.slope < 0) & (rng.random(count) < 0.008)
    customers.slope[starts] = -rng.uniform(0.015, 0.07, int(starts.sum()))
    customers.slope[ends] = 0
    declined = np.maximum(customers.fading + customers.slope, -3.5)
    customers.fading[:] = np.where(customers.slope == 0, customers.fading * 0.96, declined)
    leaves = (customers.away_until < today) & (rng.random(count) < 0.004)
    customers.away_until[leaves] = today + rng.integers(4, 15, int(leaves.sum()))


def use(
    customers: Customers, day: dt.date, rng: np.random.Generator, shift: float = 0.0, season: float = 1.0
) -> Sessions:
    """Draw the sessions of a day and record them in the ring buffers.

    Args:
        customers: The active customers; changed in place.
        day: The day.
        rng: The random numbers of the day.
        shift: Strength of the covariate shift, 0..1: sessions become more frequent and shorter.
        season: The seasonal factor of the rate of sessions.
    """
    today = day.toordinal()
    tenure = today - customers.signed_up
    liking = customers.engagement + customers.mood
    log_rate = -0.75 + 0.75 * liking + customers.fading + 0.5 * np.exp(-tenure / 20) + _WEEKDAYS[day.weekday()]
    rate = np.minimum(np.exp(log_rate) * (1 + shift) * season, 12)
    counts = rng.poisson(np.where(customers.away_until >= today, 0, rate))
    at = np.repeat(np.arange(len(customers)), counts)
    total = len(at)
    hesitant = 0.02 + 0.16 * (customers.slope < 0) + 0.03 * (customers.price_sensitivity > 0.8)
    section = pick(rng, total, _SECTIONS)
    section[rng.random(total) < hesitant[at]] = SECTIONS.index("account")
    other = rng.random(total) < 0.2
    device = np.where(other, pick(rng, total, [0.5, 0.25, 0.1, 0.15]), customers.device[at])
    duration = np.exp(rng.normal(6.2 + 0.25 * liking[at], 0.8)) / (1 + shift)
    duration = np.where(section == SECTIONS.index("account"), duration / 3, duration).round().clip(5, 21_600)
    pages = 1 + rng.poisson(duration / 150)
    _record(customers.sessions, today, counts)
    visits = np.bincount(at[section == SECTIONS.index("account")], minlength=len(customers))
    _record(customers.account_visits, today, visits)
    customers.last_session[counts > 0] = today
    return Sessions(at, _seconds(rng, total), duration.astype(np.int32), device, section, pages.astype(np.int32))


def pay(customers: Customers, day: dt.date, rng: np.random.Generator, season: float = 1.0) -> Payments:
    """Draw the charges, retries of failed charges and add-on purchases of a day, and record the failures.

    Args:
        customers: The active customers; changed in place.
        day: The day.
        rng: The random numbers of the day.
        season: The seasonal factor of the rate of add-on purchases.
    """
    count, today = len(customers), day.toordinal()
    due = (today - customers.signed_up) % NOTICE_DAYS == 0
    retried = ~due & (customers.retry_on == today)
    charged = np.flatnonzero(due | retried)
    often = _FAILURE_RATE[customers.method[charged]] * np.exp(0.6 * customers.price_sensitivity[charged])
    failed = rng.random(len(charged)) < np.where(retried[charged], 0.45, np.minimum(often, 0.5))
    _plan_retries(customers, today, charged, failed, due)
    liking = customers.engagement + customers.mood + customers.fading
    extras = np.flatnonzero(rng.random(count) < 0.012 * season * np.exp(np.minimum(0.6 * liking, 2)))
    price = np.array(PRICES)[customers.plan[charged]]
    extra_price = np.exp(rng.normal(6.3, 0.6, len(extras))).round().clip(99, 9_999).astype(np.int64)
    at = np.concatenate([charged, extras])
    lost = np.bincount(charged[failed], minlength=count)
    _record(customers.failed_payments, today, lost)
    return Payments(
        at=at,
        second=_seconds(rng, len(at)),
        cents=np.concatenate([price, extra_price]),
        kind=np.repeat([KINDS.index("subscription"), KINDS.index("addon")], [len(charged), len(extras)]),
        status=np.concatenate([failed, np.zeros(len(extras), bool)]).astype(np.int8),
        method=customers.method[at],
    )


def _plan_retries(customers: Customers, today: int, charged: Array, failed: Array, due: Array) -> None:
    customers.retries_left[due] = _RETRIES
    lost = charged[failed]
    again = lost[customers.retries_left[lost] > 0]
    customers.retries_left[again] -= 1
    customers.retry_on[again] = today + _RETRY_DAYS


def complain(customers: Customers, day: dt.date, rng: np.random.Generator) -> Tickets:
    """Draw the support tickets of a day and record the complaints.

    Args:
        customers: The active customers; changed in place.
        day: The day.
        rng: The random numbers of the day.
    """
    count, today = len(customers), day.toordinal()
    troubled = customers.failed_payments[today % NOTICE_DAYS] > 0
    chance = 0.006 * np.exp(-0.5 * customers.patience) * np.where(troubled, 12, 1)
    at = np.flatnonzero(rng.random(count) < np.minimum(chance, 0.5))
    total = len(at)
    topic = np.where(troubled[at], TOPICS.index("billing"), pick(rng, total, [0.45, 0.15, 0.25, 0.15]))
    anger = rng.normal(-0.7 * customers.patience[at], 1.0)
    priority = np.digitize(anger, [-0.3, 1.1])
    given = rng.random(total) < 0.6
    satisfaction = np.clip(np.round(3.4 - 0.9 * anger + rng.normal(0, 0.7, total)), 1, 5)
    tickets = Tickets(
        at=at,
        second=_seconds(rng, total),
        topic=topic,
        priority=priority,
        satisfaction=np.where(given, satisfaction, _UNANSWERED).astype(np.int8),
    )
    _record(customers.complaints, today, np.bincount(at[tickets.complaint], minlength=count))
    return tickets


def refund(customers: Customers, tickets: Tickets, rng: np.random.Generator) -> Payments:
    """Draw refunds of a monthly price for billing complaints, on the day of the complaint.

    Args:
        customers: The active customers.
        tickets: The tickets of the day.
        rng: The random numbers of the day.
    """
    asked = tickets.complaint & (tickets.topic == TOPICS.index("billing"))
    granted = asked & (rng.random(len(asked)) < 0.3)
    at = tickets.at[granted]
    return Payments(
        at=at,
        second=np.minimum(tickets.second[granted] + 1_800, 86_399),
        cents=np.array(PRICES)[customers.plan[at]],
        kind=np.full(len(at), KINDS.index("refund")),
        status=np.zeros(len(at), np.int8),
        method=customers.method[at],
    )


def change(customers: Customers, day: dt.date, rng: np.random.Generator) -> Array:
    """Change the plan and payment method of some customers.

    Args:
        customers: The active customers; changed in place.
        day: The day.
        rng: The random numbers of the day.

    Returns:
        Whether the plan or payment method changed, per customer.
    """
    count, today = len(customers), day.toordinal()
    liking = customers.engagement + customers.mood + customers.fading
    down = rng.random(count) < 0.0012 * np.exp(0.6 * customers.price_sensitivity - 0.3 * liking)
    up = ~down & (rng.random(count) < 0.001 * np.exp(0.5 * liking - 0.3 * customers.price_sensitivity))
    plan = np.clip(customers.plan + up.astype(np.int8) - down.astype(np.int8), 0, len(PLANS) - 1)
    failed = customers.failed_payments[today % NOTICE_DAYS] > 0
    method = np.where(failed & (rng.random(count) < 0.15), pick(rng, count, [0.25] * len(METHODS)), customers.method)
    changed: Array = (plan != customers.plan) | (method != customers.method)
    customers.plan[:], customers.method[:] = plan, method
    return changed


def _record(ring: Array, today: int, values: Array) -> None:
    ring[today % NOTICE_DAYS] = np.minimum(values, np.iinfo(ring.dtype).max)


def _seconds(rng: np.random.Generator, count: int) -> Array:
    return pick(rng, count, _HOURS).astype(np.int64) * 3_600 + rng.integers(0, 3_600, count)


assert len(DEVICES) == 4  # noqa: S101
