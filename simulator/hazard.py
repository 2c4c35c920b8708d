"""The hazard of the decision to leave on a day, as a function of observed behaviour only."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np

from simulator.customers import METHODS, NOTICE_DAYS, PLANS, Array, Customers, recent

_BASE = -6.8
_HIGHEST = -2.4
_PLAN = np.array([0.6, 0.0, -0.5])
_METHOD = np.array([0.0, 0.0, 0.35, -0.2])
_SEASON = 0.2
_NEW_YEAR_PEAK = 10


@dataclass(frozen=True)
class Observed:
    """The observed behaviour of each customer at the end of a day; arrays over customers.

    Attributes:
        sessions_7d: Sessions of the last 7 days.
        sessions_30d: Sessions of the last 30 days.
        days_since_session: Days since the last session, or since the sign-up.
        account_visits_14d: Sessions in the section ``account`` of the last 14 days.
        failed_payments_30d: Failed payments of the last 30 days.
        complaints_30d: Tickets of the last 30 days with priority high or a satisfaction of 1 or 2.
        tenure: Days since the sign-up.
        age: Years.
        plan: Index into ``PLANS``.
        method: Index into ``METHODS``.
    """

    sessions_7d: Array
    sessions_30d: Array
    days_since_session: Array
    account_visits_14d: Array
    failed_payments_30d: Array
    complaints_30d: Array
    tenure: Array
    age: Array
    plan: Array
    method: Array


def observe(customers: Customers, day: dt.date) -> Observed:
    """Return the observed behaviour of customers at the end of a day.

    Args:
        customers: The active customers.
        day: The day.
    """
    today = day.toordinal()
    return Observed(
        sessions_7d=recent(customers.sessions, today, 7),
        sessions_30d=recent(customers.sessions, today, 30),
        days_since_session=today - customers.last_session,
        account_visits_14d=recent(customers.account_visits, today, 14),
        failed_payments_30d=recent(customers.failed_payments, today, 30),
        complaints_30d=recent(customers.complaints, today, 30),
        tenure=today - customers.signed_up,
        age=customers.age,
        plan=customers.plan,
        method=customers.method,
    )


def hazard(seen: Observed, day: dt.date, concept: float = 0.0) -> Array:
    """Return the probability of each customer to decide on ``day`` to leave.

    Args:
        seen: The observed behaviour at the end of the day.
        day: The day.
        concept: Strength of the concept drift, 0..1: usage has less weight, price has more weight, and the
            effect of age is reversed.
    """
    basic = seen.plan == PLANS.index("basic")
    # The rate is per day since sign-up, so that a new customer does not count as idle.
    rate = seen.sessions_30d / np.clip(seen.tenure + 1, 7, 30)
    idle = np.clip(1 - rate / 0.6, 0, 1)
    trend = np.divide(seen.sessions_7d / 7, rate, out=np.ones(len(rate)), where=rate > 0)
    falling = np.where(seen.sessions_30d >= 6, np.clip(0.9 - trend, 0, 0.9), 0)
    silent = np.clip((seen.days_since_session - 5) / 15, 0, 1)
    new = np.clip(1 - seen.tenure / 120, 0, 1)
    use = np.clip(seen.tenure / 30, 0, 1) * (2.9 * idle + 0.8 * falling + 0.8 * silent + 1.0 * idle * new)
    failed = np.minimum(seen.failed_payments_30d, 2)
    price = _PLAN[seen.plan] + failed * np.where(basic, 1.3, 0.9) + _METHOD[seen.method]
    complaints = np.minimum(seen.complaints_30d, 2) * np.where(rate > 0.8, 0.5, 1.1)
    looking = 0.4 * np.minimum(seen.account_visits_14d, 3)
    age = 0.5 * (seen.age < 27) - 0.45 * (seen.age > 58)
    loyal = -0.5 * np.clip((seen.tenure - 120) / 360, 0, 1)
    season = _SEASON * math.cos(2 * math.pi * (day.timetuple().tm_yday - _NEW_YEAR_PEAK) / 365.25)
    logit = _BASE + season + loyal + 0.6 * new + looking + complaints
    logit = logit + (1 - 0.8 * concept) * use + (1 + 0.8 * concept) * price + (1 - 2 * concept) * age
    chance: Array = 1 / (1 + np.exp(-np.minimum(logit, _HIGHEST)))
    return chance


def churn_probability(customers: Customers) -> Array:
    """Return the exact probability of each active customer to churn within the next 30 days.

    No active customer decided to leave more than 29 days ago, and every decision of the last 30 days, including today,
    leads to churn within 30 days.
    """
    assert len(customers.log_stay) == NOTICE_DAYS  # noqa: S101
    probability: Array = -np.expm1(customers.log_stay.sum(axis=0))
    return probability


assert len(_METHOD) == len(METHODS)  # noqa: S101
