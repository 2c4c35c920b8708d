"""From odd texts in a delivery to silver or quarantine, and to the days on which the gate judges them."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from include.days import DayRange
from include.projects import Source
from include.quality.gate import GateError
from tests.quality.shop import FIRST, ORDERS, Shop, project

pytestmark = pytest.mark.slow  # every case is an ingest

LENIENT = {"orders": {"minimum_pass_share": 0}}


def shop(root: Any, zone: str = "UTC", checks: Any = LENIENT, **source: Any) -> Shop:
    sources = {"orders": Source.model_validate(ORDERS.model_dump(exclude_unset=True) | {"timezone": zone} | source)}
    return Shop(root, project(sources, checks).model_copy(update={"timezone": zone}))


def test_refused_values_are_in_quarantine_with_their_reason(tmp_path):
    columns = {
        name: {"type": kind}
        for name, kind in {
            "order_id": "string",
            "customer_id": "string",
            "count": "integer",
            "amount": "decimal",
            "rate": "number",
            "due": "date",
            "paid": "boolean",
            "at": "timestamp",
        }.items()
    }
    world = shop(tmp_path, columns=columns)
    good = {
        "count": "5.0",
        "amount": "36.900000000000006",
        "rate": "1e3",
        "due": f"{FIRST} 00:00",
        "paid": "Yes",
        "at": f"{FIRST}",
    }
    odd = [
        ("count", "9223372036854775808", "type:count:range"),
        ("count", "5.5", "type:count"),
        ("amount", "12.34567", "type:amount:digits"),
        ("amount", "1_000", "type:amount"),
        ("amount", "1e20", "type:amount"),
        ("rate", "1e999", "type:rate:range"),
        ("rate", "-inf", "type:rate:infinite"),
        ("due", "infinity", "type:due:infinite"),
        ("due", "12026-01-01", "type:due:year"),
        ("due", "0044-03-15 BC", "type:due:year"),
        ("due", f"{FIRST} 10:00", "type:due:time"),
        ("paid", "maybe", "type:paid"),
        ("at", "-infinity", "type:at:infinite"),
        ("at", "01-01-24 10:00:00", "type:at"),
        ("at", "9999-12-31 23:00-05:00", "type:at:year"),
        ("order_id", "NULL", "required:order_id"),
        ("order_id", "\u00a0", "required:order_id"),
    ]
    rows = [{"order_id": "good", "customer_id": "c", **good}]
    rows += [{**rows[0], "order_id": f"{number}", column: text} for number, (column, text, _) in enumerate(odd)]
    world.deliver("orders", 0, [",".join(row[name] for name in columns) for row in rows])
    world.ingest(0)
    refused = {row[0]: row[1] for row in world.read("quarantine/orders", "_row", "rules")}
    assert refused == {number: rule for number, (_, _, rule) in enumerate(odd, start=2)}
    (kept,) = world.lake.table("silver/orders").read(DayRange.single(FIRST)).to_pylist()
    assert (kept["count"], str(kept["amount"]), kept["due"]) == (5, "36.9000", FIRST)
    (table,) = json.loads((world.reports / str(FIRST) / "silver.json").read_text())
    limits = {rule["rule"]: rule["limits"] for rule in table["rules"]}
    assert limits["type:amount:digits"] == "empty, or of type decimal with at most four decimal places"
    assert limits["type:due:year"] == "empty, or of type date, from 1900 to 2100"


def test_the_widest_years_can_be_written_and_read(tmp_path):
    columns = {**ORDERS.model_dump()["columns"], "due": {"type": "date"}}
    world = shop(tmp_path, "America/New_York", columns=columns, years=(1, 9999))
    dues = ["0001-01-01", "9999-12-31", "9999-12-31T23:00:00-05:00", "0000-12-31"]
    world.deliver("orders", 0, [f"{number},c,5,0001-01-01,{due}" for number, due in enumerate(dues)])
    world.ingest(0)
    assert [row[0] for row in world.read("silver/orders", "due")] == [dt.date.min, dt.date.max]
    assert sorted(world.rules().values()) == ["type:due:time", "type:due:year"]


@pytest.mark.parametrize("text", ["2023-12-31T19:30:00-05:00", "2024-01-01T00:30:00Z", "2024-01-01 09:30 Asia/Tokyo"])
def test_an_instant_is_stored_in_utc(tmp_path, text):
    world = shop(tmp_path)
    world.deliver("orders", 0, [f"a,c,5,{text}"])
    world.ingest(0)
    assert world.read("silver/orders", "at") == [(dt.datetime.fromisoformat("2024-01-01 00:30"),)]


@pytest.mark.parametrize(
    ("zone", "last", "next_day"),
    [
        ("UTC", "2024-01-01T23:59:59Z", "2024-01-02T00:00:00Z"),
        ("Asia/Tokyo", "2024-01-01T14:59:59Z", "2024-01-01T15:00:00Z"),
        ("America/New_York", "2024-01-02T04:59:59Z", "2024-01-02T05:00:00Z"),
        ("America/New_York", "2024-01-01 23:59:59", "2024-01-02 00:00:00"),
    ],
)
def test_an_event_is_not_after_its_business_day(tmp_path, zone, last, next_day):
    world = shop(tmp_path, zone)
    world.deliver("orders", 0, [f"last,c,5,{last}", f"next,c,5,{next_day}"])
    world.ingest(0)
    assert world.silver() == [(FIRST, "last")]
    assert world.rules() == {(0, "next"): "after_day:at"}


def test_freshness_counts_business_days(tmp_path):
    checks = {"orders": {"minimum_pass_share": 0, "freshness": {"max_age_days": 0}}}
    world = shop(tmp_path, "Asia/Tokyo", checks)
    world.deliver("orders", 0, ["a,c,5,2023-12-31T15:00:00Z"])
    world.ingest(0)
    assert world.silver() == [(FIRST, "a")]
    world.deliver("orders", 1, ["b,c,5,2024-01-01T14:59:59Z"])
    with pytest.raises(GateError, match="2024-01-01 as the newest event by 2024-01-02"):
        world.ingest(1)


def test_unreadable_rows_are_in_quarantine(tmp_path):
    files = {"format": "csv", "path": "orders/{day}.csv", "unreadable_rows": "quarantine"}
    world = shop(tmp_path, files=files)
    world.deliver("orders", 0, [f"a,c,5,{FIRST}", f"b,c,5,{FIRST},more"])
    world.ingest(0)
    assert world.silver() == [(FIRST, "a")]
    assert world.read("quarantine/orders", "_row", "rules") == [(2, "unreadable")]
