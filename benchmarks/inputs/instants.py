"""One instant in many spellings, and its business day; the result must not depend on the machine's time zone."""
# ruff: noqa: E501 - an input is one line

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from benchmarks.inputs.library import (
    MACHINES,
    Input,
    Right,
    csv_text,
    deliver_orders,
    outcome,
    parquet_cell,
)
from benchmarks.inputs.shop import CUSTOMERS, DAY, ORDER, Shop

_NEXT_DAY = DAY + dt.timedelta(days=1)

# The text, the expected instant in UTC, the zone of the project, and the zone of the source.
_TIMES = [
    ("offset before the day", "2026-02-28T19:30:00-05:00", "2026-03-01 00:30:00"),
    ("same instant with Z", "2026-03-01T00:30:00Z", "2026-03-01 00:30:00"),
    ("blank and UTC", "2026-03-01 00:30:00 UTC", "2026-03-01 00:30:00"),
    ("offset of hours", "2026-03-01 02:30:00+02", "2026-03-01 00:30:00"),
    ("offset without colon", "2026-03-01T02:30:00+0200", "2026-03-01 00:30:00"),
    ("offset after a blank", "2026-03-01 02:30:00 +02:00", "2026-03-01 00:30:00"),
    ("offset of quarter hours", "2026-03-01T06:15:00+05:45", "2026-03-01 00:30:00"),
    ("offset that ends on the next local day", "2026-03-02T00:30:00+14:00", "2026-03-01 10:30:00"),
    ("offset of 25 hours", "2026-03-01T02:30:00+25:00", "type:ordered_at"),
    ("fraction and offset", "2026-03-01T02:30:00.5+02:00", "2026-03-01 00:30:00.500000"),
    ("named zone", "2026-03-01 01:30:00 Europe/Berlin", "2026-03-01 00:30:00"),
    ("offset with named zone", "2026-03-01T01:30:00+01:00[Europe/Berlin]", "2026-03-01 00:30:00"),
    ("abbreviated zone", "2026-03-01 01:30:00 CST", "type:ordered_at"),
    ("unknown zone", "2026-03-01 01:30:00 Mars/Phobos", "type:ordered_at"),
    ("offset past the day", "2026-03-01T20:00:00-05:00", "after_day:ordered_at"),
    ("naive in a project in Tokyo", "2026-03-01 10:00:00", "2026-03-01 01:00:00", "Asia/Tokyo"),
    ("naive in a project in Kolkata", "2026-03-01 05:30:00", "2026-03-01 00:00:00", "Asia/Kolkata"),
    ("naive in a source in New York", "2026-03-01 10:00:00", "2026-03-01 15:00:00", "UTC", "America/New_York"),
    ("naive in a source in UTC of a project in Tokyo", "2026-03-01 10:00:00", "2026-03-01 10:00:00", "Asia/Tokyo", "UTC"),
    ("naive in a source in New York past the day", "2026-03-01 20:00:00", "after_day:ordered_at", "UTC", "America/New_York"),
    ("offset in a project in Tokyo", "2026-03-01T00:30:00+09:00", "2026-02-28 15:30:00", "Asia/Tokyo"),
    ("local time twice in winter", "2025-11-02 01:30:00", "2025-11-02 06:30:00", "America/New_York"),
    ("local time that does not exist", "2025-03-09 02:30:00", "2025-03-09 07:30:00", "America/New_York"),
    ("last instant of a day in Tokyo", "2026-03-01T14:59:59Z", "2026-03-01 14:59:59", "Asia/Tokyo"),
    ("first instant after a day in Tokyo", "2026-03-01T15:00:00Z", "after_day:ordered_at", "Asia/Tokyo"),
    ("last instant of a day in New York", "2026-03-02T04:59:59Z", "2026-03-02 04:59:59", "America/New_York"),
    ("first instant after a day in Kolkata", "2026-03-01T18:30:00Z", "after_day:ordered_at", "Asia/Kolkata"),
]  # fmt: skip

_DATES = [
    ("date with an offset at midnight", "2026-03-05T00:00:00Z", "2026-03-05"),
    ("date with an offset at another midnight", "2026-03-05T00:00:00+01:00", "type:due:time"),
    ("date with the offset of the business", "2026-03-05T00:00:00+01:00", "2026-03-05", "Europe/Berlin"),
    ("date as an instant at the midnight of Tokyo", "2026-03-04T15:00:00Z", "2026-03-05", "Asia/Tokyo"),
    ("date as an instant, source in UTC", "2026-03-04T15:00:00Z", "type:due:time", "Asia/Tokyo", "UTC"),
    ("naive date in a project in Tokyo", "2026-03-05", "2026-03-05", "Asia/Tokyo"),
]


def _cell(
    column: str,
    name: str,
    text: str,
    expected: str,
    project: str = "UTC",
    source: str | None = None,
    machine: str | None = None,
) -> Input:
    def deliver(shop: Shop) -> object:
        shop.yaml["project.yaml"]["timezone"] = project
        shop.orders["timezone"] = source or project
        shop.declare(column)
        deliver_orders(shop, csv_text([ORDER | {column: text}]))
        return shop.silver(column)

    return Input(name, deliver, outcome(expected), machine)


def _recency(name: str, zone: str, ordered: str, expected: str) -> Input:
    def deliver(shop: Shop) -> object:
        shop.yaml["project.yaml"]["timezone"] = zone
        shop.write(f"orders/{DAY}.csv", csv_text([ORDER | {"ordered_at": ordered}]))
        shop.ingest()
        return shop.gold("days_since_order").get(f"{DAY} 1")

    return Input(name, deliver, Right(expected))


def _tenure(name: str, zone: str, signed_up: str, expected: str) -> Input:
    def deliver(shop: Shop) -> object:
        shop.yaml["project.yaml"]["timezone"] = zone
        shop.sources["customers"]["columns"]["signed_up"] = {"type": "timestamp"}
        shop.write(f"customers/{DAY}.csv", CUSTOMERS.replace("2025-01-01", signed_up))
        shop.write(f"orders/{DAY}.csv", csv_text([ORDER]))
        shop.ingest()
        return shop.gold("tenure_days").get(f"{DAY} 1")

    return Input(name, deliver, Right(expected))


def _date_as_event_time(shop: Shop) -> object:
    shop.yaml["project.yaml"]["timezone"] = "America/New_York"
    shop.orders["event_time"] = "due"
    shop.write(f"orders/{DAY}.csv", csv_text([ORDER | {"due": str(DAY)}]))
    shop.ingest()
    return shop.gold("days_since_order").get(f"{DAY} 1")


def _day_after(shop: Shop) -> object:
    shop.yaml["project.yaml"]["timezone"] = "Asia/Tokyo"
    shop.write(f"orders/{DAY}.csv", csv_text([ORDER | {"ordered_at": "2026-03-01T03:00:00Z"}]))
    shop.write(f"orders/{_NEXT_DAY}.csv", csv_text([ORDER | {"order_id": "b", "ordered_at": "2026-03-01T16:00:00Z"}]))
    shop.ingest(DAY, _NEXT_DAY)
    return [shop.gold("days_since_order").get(f"{day} 1") for day in (DAY, _NEXT_DAY)]


def _parquet(zone: str | None, value: dt.datetime, unit: str = "us") -> pa.Array:
    return pa.array([value], pa.timestamp(unit, zone))


_MORNING = dt.datetime(2026, 3, 1, 3, 30)  # noqa: DTZ001
_UTC_NIGHT = dt.datetime(2026, 3, 4, 23, tzinfo=dt.UTC)

INPUTS = [
    *(_cell("ordered_at", *item) for item in _TIMES),
    *(_cell("due", *item) for item in _DATES),
    _recency("business day in Tokyo", "Asia/Tokyo", "2026-02-28T15:00:00Z", "0.0"),
    _recency("business day in UTC", "UTC", "2026-02-28T15:00:00Z", "1.0"),
    _recency("business day in New York", "America/New_York", "2026-03-02T03:00:00Z", "0.0"),
    _tenure("day of a timestamp in Tokyo", "Asia/Tokyo", "2026-02-28T15:00:00Z", "0.0"),
    _tenure("day of a timestamp in New York", "America/New_York", "2026-03-01T03:00:00Z", "1.0"),
    Input("date as an event time is its own day", _date_as_event_time, Right("0.0")),
    Input("delivery of the next business day", _day_after, Right(["0.0", "0.0"])),
    *(
        item
        for machine in MACHINES
        for item in (
            _cell("ordered_at", f"naive, machine in {machine}", "2026-03-01 03:30:00", "2026-03-01 03:30:00", machine=machine),
            parquet_cell(f"Parquet in UTC, machine in {machine}", "ordered_at", _parquet("UTC", _MORNING), "2026-03-01 03:30:00", machine),
            parquet_cell(f"Parquet naive, machine in {machine}", "ordered_at", _parquet(None, _MORNING), "2026-03-01 03:30:00", machine),
            parquet_cell(f"Parquet date in Berlin, machine in {machine}", "due", _parquet("Europe/Berlin", _UTC_NIGHT), "2026-03-05", machine, "Europe/Berlin"),
        )
    ),
    parquet_cell("Parquet naive in a project in Tokyo", "ordered_at", _parquet(None, _MORNING), "2026-02-28 18:30:00", None, "Asia/Tokyo"),
    parquet_cell("Parquet with zone in a project in Tokyo", "ordered_at", _parquet("America/New_York", _MORNING), "2026-03-01 03:30:00", None, "Asia/Tokyo"),
    parquet_cell("Parquet in nanoseconds", "ordered_at", pa.array([1772335800123456789], pa.timestamp("ns", "UTC")), "2026-03-01 03:30:00.123456"),
    parquet_cell("Parquet in milliseconds", "ordered_at", _parquet("UTC", _MORNING, "ms"), "2026-03-01 03:30:00"),
    parquet_cell("Parquet in seconds in the year 9999", "due", _parquet(None, dt.datetime(9999, 12, 31), "s"), "type:due:year"),  # noqa: DTZ001
    parquet_cell("Parquet midnight of Berlin as a date in UTC", "due", _parquet("Europe/Berlin", _UTC_NIGHT), "type:due:time"),
    parquet_cell("Parquet naive midnight as a date", "due", _parquet(None, dt.datetime(2026, 3, 5)), "2026-03-05"),  # noqa: DTZ001
]  # fmt: skip
