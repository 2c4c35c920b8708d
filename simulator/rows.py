"""Convert a simulated day to the tables of the four sources."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from simulator import behaviour, customers
from simulator.behaviour import Payments
from simulator.customers import Array
from simulator.simulation import Day

MONEY = pa.decimal128(10, 2)
TIMESTAMP = pa.timestamp("us")

SCHEMAS = {
    "customers": pa.schema(
        {
            "customer_id": pa.int64(),
            "signup_date": pa.date32(),
            "status": pa.string(),
            "age": pa.int64(),
            "plan": pa.string(),
            "country": pa.string(),
            "payment_method": pa.string(),
            "channel": pa.string(),
            "updated_at": TIMESTAMP,
        }
    ),
    "transactions": pa.schema(
        {
            "transaction_id": pa.int64(),
            "customer_id": pa.int64(),
            "amount": MONEY,
            "kind": pa.string(),
            "status": pa.string(),
            "method": pa.string(),
            "paid_at": TIMESTAMP,
        }
    ),
    "sessions": pa.schema(
        {
            "session_id": pa.int64(),
            "customer_id": pa.int64(),
            "duration_s": pa.int64(),
            "device": pa.string(),
            "section": pa.string(),
            "pages": pa.int64(),
            "started_at": TIMESTAMP,
        }
    ),
    "support_tickets": pa.schema(
        {
            "ticket_id": pa.int64(),
            "customer_id": pa.int64(),
            "topic": pa.string(),
            "priority": pa.string(),
            "satisfaction": pa.int64(),
            "opened_at": TIMESTAMP,
        }
    ),
}
"""The columns of each source."""

_IDS_A_DAY = 10_000_000
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - a day has no time zone; all timestamps are UTC


def tables_of(day: Day) -> dict[str, pa.Table]:
    """Return the rows of a day by source, in the order of their timestamps."""
    return {
        "customers": _customers(day),
        "transactions": _transactions(day),
        "sessions": _sessions(day),
        "support_tickets": _tickets(day),
    }


def _customers(day: Day) -> pa.Table:
    who = day.changed
    names = np.where(day.left, 1, 0)
    return _table(
        "customers",
        customer_id=who.customer_id,
        signup_date=pa.array((who.signed_up - dt.date(1970, 1, 1).toordinal()).astype(np.int32)).cast(pa.date32()),
        status=_named(("active", "churned"), names),
        age=who.age,
        plan=_named(customers.PLANS, who.plan),
        country=_named(customers.COUNTRIES, who.country),
        payment_method=_named(customers.METHODS, who.method),
        channel=_named(customers.CHANNELS, who.channel),
        updated_at=_timestamps(day.day, day.changed_second),
    )


def _sessions(day: Day) -> pa.Table:
    found = day.sessions
    order = np.argsort(found.second, kind="stable")
    return _table(
        "sessions",
        session_id=_ids(day.day, len(order)),
        customer_id=day.customers.customer_id[found.at[order]],
        duration_s=found.duration[order],
        device=_named(customers.DEVICES, found.device[order]),
        section=_named(behaviour.SECTIONS, found.section[order]),
        pages=found.pages[order],
        started_at=_timestamps(day.day, found.second[order]),
    )


def _transactions(day: Day) -> pa.Table:
    found = Payments(*(np.concatenate(column) for column in zip(*map(_columns, day.payments), strict=True)))
    order = np.argsort(found.second, kind="stable")
    return _table(
        "transactions",
        transaction_id=_ids(day.day, len(order)),
        customer_id=day.customers.customer_id[found.at[order]],
        amount=pa.array(found.cents[order] / 100).cast(MONEY),
        kind=_named(behaviour.KINDS, found.kind[order]),
        status=_named(behaviour.STATUSES, found.status[order]),
        method=_named(customers.METHODS, found.method[order]),
        paid_at=_timestamps(day.day, found.second[order]),
    )


def _columns(payments: Payments) -> tuple[Array, ...]:
    return payments.at, payments.second, payments.cents, payments.kind, payments.status, payments.method


def _tickets(day: Day) -> pa.Table:
    found = day.tickets
    order = np.argsort(found.second, kind="stable")
    satisfaction = found.satisfaction[order].astype(np.int64)
    return _table(
        "support_tickets",
        ticket_id=_ids(day.day, len(order)),
        customer_id=day.customers.customer_id[found.at[order]],
        topic=_named(behaviour.TOPICS, found.topic[order]),
        priority=_named(behaviour.PRIORITIES, found.priority[order]),
        satisfaction=pa.array(satisfaction, mask=satisfaction == 0),
        opened_at=_timestamps(day.day, found.second[order]),
    )


def _table(source: str, **columns: object) -> pa.Table:
    return pa.table(columns).cast(SCHEMAS[source])


def _named(names: tuple[str, ...], indexes: Array) -> pa.Array:
    return pc.take(pa.array(names), pa.array(indexes.astype(np.int64)))


def _ids(day: dt.date, count: int) -> Array:
    return np.int64(day.toordinal()) * _IDS_A_DAY + np.arange(1, count + 1)


def _timestamps(day: dt.date, seconds: Array) -> pa.Array:
    midnight = (dt.datetime.combine(day, dt.time()) - _EPOCH) // dt.timedelta(microseconds=1)
    return pa.array(midnight + seconds.astype(np.int64) * 1_000_000).cast(TIMESTAMP)
