"""A shop with a small source of each kind; the tests write its files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa

from include.days import DayRange
from include.lake import Lake
from include.projects import Checks, Project, Source
from tests.world import grocery, ingest, write_csv

FIRST = dt.date(2024, 1, 1)

ORDERS = Source.model_validate(
    {
        "description": "One order.",
        "owner": "shop",
        "kind": "events",
        "files": {"format": "csv", "path": "orders/{day}.csv"},
        "key": ["order_id"],
        "customer": "customer_id",
        "event_time": "at",
        "allow_no_rows": True,
        "columns": {
            "order_id": {"type": "string"},
            "customer_id": {"type": "string", "required": True},
            "amount": {"type": "decimal"},
            "at": {"type": "timestamp", "required": True},
        },
    }
)
CUSTOMERS = Source.model_validate(
    {
        "description": "A new or changed customer.",
        "owner": "shop",
        "kind": "changes",
        "files": {"format": "csv", "path": "customers/{day}.csv"},
        "key": ["customer_id"],
        "customer": "customer_id",
        "event_time": "changed",
        "allow_no_rows": True,
        "columns": {
            "customer_id": {"type": "string"},
            "status": {"type": "string"},
            "changed": {"type": "timestamp", "required": True},
        },
    }
)
REGIONS = Source.model_validate(
    {
        "description": "One region of the shop.",
        "owner": "shop",
        "kind": "snapshot",
        "files": {"format": "csv", "path": "regions/{day}.csv"},
        "key": ["customer_id"],
        "columns": {"customer_id": {"type": "string"}, "region": {"type": "string"}},
    }
)


def day(number: int) -> dt.date:
    """Return the day ``number`` days after the first."""
    return FIRST + dt.timedelta(days=number)


def days(first: int, last: int) -> DayRange:
    return DayRange(day(first), day(last))


def project(sources: dict[str, Source], checks: dict[str, dict[str, Any]] | None = None) -> Project:
    """Return a project with these sources; its other parts do not affect silver."""
    found = {name: Checks.model_validate(part) for name, part in (checks or {}).items()}
    return grocery().model_copy(update={"sources": sources, "checks": found, "first_day": FIRST})


class Shop:
    """A landing folder, a lake and a folder for reports.

    Args:
        root: The folder that contains them.
        made_of: The project.
    """

    def __init__(self, root: Path, made_of: Project) -> None:
        self.landing, self.lake, self.reports = root / "landing", Lake(str(root / "lake")), root / "reports"
        self.project = made_of

    def deliver(self, source: str, number: int, lines: Iterable[str]) -> None:
        """Write the delivery of day ``number``."""
        header = ",".join(self.project.sources[source].columns)
        write_csv(self.landing, source, day(number), [header, *lines])

    def orders(self, number: int, ids: Iterable[str], customer: str = "c", amount: str = "5") -> None:
        """Deliver orders with these ids for day ``number``."""
        self.deliver("orders", number, [f"{order},{customer},{amount},{day(number)} 10:00:00" for order in ids])

    def ingest(self, first: int, last: int | None = None) -> None:
        """Ingest the days from landing to silver."""
        span = days(first, first if last is None else last)
        ingest(self.project, self.lake, self.landing, span, self.reports)

    def read(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        """Return the rows of a table, sorted."""
        stored = self.lake.table(table)
        found = stored.read(days(0, 40), list(columns)) if stored.exists() else pa.table({})
        return sorted((tuple(row.values()) for row in found.to_pylist()), key=str)

    def silver(self) -> list[tuple[dt.date, str]]:
        """Return day and id of each order in silver."""
        return self.read("silver/orders", "dt", "order_id")

    def rules(self) -> dict[tuple[int, str], str]:
        """Return the violated rules of refused orders, by day number and id."""
        rows = self.read("quarantine/orders", "dt", "order_id", "rules")
        return {((when - FIRST).days, order): rules for when, order, rules in rows}
