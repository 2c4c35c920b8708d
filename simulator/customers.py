"""The active customers: observed attributes, unobserved traits, and ring buffers of the last 30 days."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NOTICE_DAYS = 30
"""Days between the decision to leave and the churn; also the length of the ring buffers in days."""

NEVER = 0
"""The ordinal that stands for no day."""

PLANS = ("basic", "standard", "premium")
PRICES = (799, 1299, 1999)
"""Cents per month, by plan."""
COUNTRIES = ("AT", "DE", "FR", "IT", "NL", "PL")
METHODS = ("card", "paypal", "bank_transfer", "direct_debit")
CHANNELS = ("search", "social", "referral", "partner")
DEVICES = ("phone", "desktop", "tablet", "tv")

Array = NDArray[Any]


@dataclass
class Customers:
    """Columns over customers, which are the last axis; a ring buffer holds day ``d`` in its row ``d % 30``.

    Attributes:
        customer_id: Numbers from 1, ascending.
        signed_up: Ordinal of the sign-up day.
        age: Years, 18..100.
        plan: Index into ``PLANS``.
        country: Index into ``COUNTRIES``.
        method: Payment method, index into ``METHODS``.
        channel: Acquisition channel, index into ``CHANNELS``.
        device: Preferred device, index into ``DEVICES``.
        engagement: Unobserved affinity to the product; standard normal.
        patience: Unobserved; a higher value means fewer complaints; standard normal.
        price_sensitivity: Unobserved; standard normal.
        mood: Unobserved; autoregressive around zero.
        fading: Unobserved cumulative decline of the log rate of sessions, 0 or below.
        slope: Unobserved daily change of ``fading``; 0 without a decline.
        away_until: Unobserved ordinal of the last day of a pause.
        retry_on: Ordinal of the day on which a failed payment is retried.
        retries_left: Number of remaining retries.
        last_session: Ordinal of the day of the last session, or of the sign-up.
        decided_on: Unobserved ordinal of the day of the decision to leave.
        sessions: Ring buffer of sessions per day.
        account_visits: Ring buffer of sessions in the section ``account``.
        failed_payments: Ring buffer of failed payments.
        complaints: Ring buffer of complaints.
        log_stay: Ring buffer of the logarithm of the probability not to decide to leave on that day.
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
        """Return these customers followed by ``new``."""
        mine, theirs = self.columns(), new.columns()
        return Customers(**{name: np.concatenate([mine[name], theirs[name]], axis=-1) for name in mine})

    def columns(self) -> dict[str, Array]:
        """Return every column by name."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}


def recent(ring: Array, day: int, days: int) -> Array:
    """Sum a ring buffer over the last days.

    Args:
        ring: The ring buffer, of shape (30, customers).
        day: Ordinal of the last day.
        days: Number of days.

    Returns:
        The sum per customer.
    """
    rows = [(day - age) % NOTICE_DAYS for age in range(days)]
    total: Array = ring[rows].sum(axis=0, dtype=np.float64)
    return total


def draw_customers(rng: np.random.Generator, first_id: int, signed_up: Array) -> Customers:
    """Draw new customers.

    Args:
        rng: The random numbers.
        first_id: The number of the first customer.
        signed_up: Ordinal of the sign-up day of each customer.
    """
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
    """Draw indexes from a categorical distribution.

    Args:
        rng: The random numbers.
        count: Number of indexes.
        shares: The probability of each index; they sum to 1.
    """
    # The last bound is omitted, so that rounding cannot give an index past the end.
    return np.searchsorted(np.cumsum(shares)[:-1], rng.random(count), side="right").astype(np.int8)
