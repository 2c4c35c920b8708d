"""The customers that are active now: what is known of them, what is not, and their last 30 days."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOTICE_DAYS = 30
"""Days between the decision to leave and leaving; also the days of the past that a customer's state holds."""

NEVER = 0
"""Stands for no day, where days are ordinals."""

PLANS = ("basic", "standard", "premium")
PRICES = (799, 1299, 1999)
"""Cents a month, by plan."""
COUNTRIES = ("AT", "DE", "FR", "IT", "NL", "PL")
METHODS = ("card", "paypal", "bank_transfer", "direct_debit")
CHANNELS = ("search", "social", "referral", "partner")
DEVICES = ("phone", "desktop", "tablet", "tv")

Array = NDArray[Any]


@dataclass
class Customers:
    """Columns over customers, which are always the last axis; a ring holds day ``d`` in its row ``d % 30``.

    Attributes:
        customer_id: Numbers from 1, ascending.
        signed_up: Ordinal of the day.
        age: Years, 18..100.
        plan: Index into ``PLANS``; country, method, channel and device likewise.
        country: Index into ``COUNTRIES``.
        method: Index into ``METHODS``: how they pay.
        channel: Index into ``CHANNELS``: how they came.
        device: Index into ``DEVICES``: the one they mostly use.
        engagement: Unobserved: how much they like the product; standard normal.
        patience: Unobserved: what it takes to make them complain; standard normal.
        price_sensitivity: Unobserved; standard normal.
        mood: Unobserved: drifts around zero from day to day.
        fading: Unobserved: what a slow decline has taken from the log rate of sessions so far, 0 or below.
        slope: Unobserved: what it takes each day; 0 when there is no decline.
        away_until: Unobserved: ordinal of the last day of a pause.
        retry_on: Ordinal of the day on which a failed payment is tried again.
        retries_left: How often it will be.
        last_session: Ordinal of the day of the last session, or of the sign-up.
        decided_on: Unobserved: ordinal of the day on which they decided to leave.
        sessions: Ring of sessions a day.
        account_visits: Ring of sessions in the section ``account``.
        failed_payments: Ring of failed payments.
        complaints: Ring of complaints.
        log_stay: Ring of the logarithm of the probability of not deciding to leave on that day.
    """

    customer_id: Array
    signed_up: Array
    age: Array
    plan: Array
    country: Array
    method: Array
    channel: Array
    device: Array
    engagement: Array
    patience: Array
    price_sensitivity: Array
    mood: Array
    fading: Array
    slope: Array
    away_until: Array
    retry_on: Array
    retries_left: Array
    last_session: Array
    decided_on: Array
    sessions: Array
    account_visits: Array
    failed_payments: Array
    complaints: Array
    log_stay: Array

    def __len__(self) -> int:
        return len(self.customer_id)

    def take(self, mask: Array) -> Customers:
        """Return the customers where ``mask`` is true."""
        return Customers(**{name: column[..., mask] for name, column in self.columns().items()})

    def with_new(self, new: Customers) -> Customers:
        """Return these customers followed by ``new`` ones."""
        mine, theirs = self.columns(), new.columns()
        return Customers(**{name: np.concatenate([mine[name], theirs[name]], axis=-1) for name in mine})

    def columns(self) -> dict[str, Array]:
        """Return every column by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def recent(ring: Array, day: int, days: int) -> Array:
    """Return each customer's sum over the ``days`` that end with the day of ordinal ``day``."""
    rows = [(day - age) % NOTICE_DAYS for age in range(days)]
    total: Array = ring[rows].sum(axis=0, dtype=np.float64)
    return total


def draw_customers(rng: np.random.Generator, first_id: int, signed_up: Array) -> Customers:
    """Draw as many new customers as ``signed_up`` (ordinals of days) has entries."""
    count = len(signed_up)
    engagement, patience, price_sensitivity = rng.standard_normal((3, count))
    plan = np.digitize(rng.normal(-0.45 * price_sensitivity + 0.15 * engagement, 1.0), [-0.1, 0.9])
    young = rng.random(count) < 0.35
    age = np.where(young, rng.normal(26, 5, count), rng.normal(46, 14, count)).round().clip(18, 100)

    def ring(dtype: type) -> Array:
        return np.zeros((NOTICE_DAYS, count), dtype)

    def draw(shares: list[float]) -> Array:
        return pick(rng, count, shares)

    return Customers(
        customer_id=np.arange(first_id, first_id + count, dtype=np.int64),
        signed_up=signed_up.astype(np.int32),
        age=age.astype(np.int16),
        plan=plan.astype(np.int8),
        country=draw([0.1, 0.32, 0.22, 0.14, 0.1, 0.12]),
        method=draw([0.48, 0.24, 0.13, 0.15]),
        channel=draw([0.4, 0.28, 0.2, 0.12]),
        device=np.where(age < 35, draw([0.7, 0.15, 0.05, 0.1]), draw([0.4, 0.28, 0.14, 0.18])).astype(np.int8),
        engagement=engagement,
        patience=patience,
        price_sensitivity=price_sensitivity,
        mood=rng.normal(0, 0.4, count),
        fading=np.zeros(count),
        slope=np.zeros(count),
        away_until=np.full(count, NEVER, np.int32),
        retry_on=np.full(count, NEVER, np.int32),
        retries_left=np.zeros(count, np.int8),
        last_session=signed_up.astype(np.int32),
        decided_on=np.full(count, NEVER, np.int32),
        sessions=ring(np.int16),
        account_visits=ring(np.int16),
        failed_payments=ring(np.int8),
        complaints=ring(np.int8),
        log_stay=ring(np.float64),
    )


def pick(rng: np.random.Generator, count: int, shares: list[float] | Array) -> Array:
    """Return ``count`` indexes drawn with the given shares, which sum to 1."""
    # The last bound is left out, so that rounding never draws an index past the end.
    return np.searchsorted(np.cumsum(shares)[:-1], rng.random(count), side="right").astype(np.int8)
