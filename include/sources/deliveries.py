"""The table of loaded deliveries: when a day without rows was loaded, too, and how much arrived when."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import DELIVERIES_TABLE

_SCHEMA = pa.schema(
    [
        ("dt", pa.date32()),
        ("source", pa.string()),
        ("file", pa.string()),
        ("bytes", pa.int64()),
        ("rows", pa.int64()),
    ]
)


@dataclass(frozen=True)
class LoadedDelivery:
    """One delivery in bronze.

    Attributes:
        dt: The day it was delivered for.
        source: The source's name.
        file: The file's name, or ``table@day``.
        bytes: The file's bytes; none for a database.
        rows: Its rows.
    """

    dt: dt.date
    source: str
    file: str
    bytes: int | None
    rows: int


def record(lake: Lake, days: DayRange, loaded: Sequence[LoadedDelivery]) -> None:
    """Replace what is known of the deliveries of ``days``."""
    lake.table(DELIVERIES_TABLE).replace(days, pa.Table.from_pylist([vars(item) for item in loaded], schema=_SCHEMA))


def delivered_days(lake: Lake, source: str, days: DayRange) -> set[dt.date]:
    """Return the days of ``days`` whose delivery of ``source`` was loaded, also when it held no row."""
    table = lake.table(DELIVERIES_TABLE)
    if not table.exists():
        return set()
    rows = table.read(days, ["dt", "source"]).to_pylist()
    return {row["dt"] for row in rows if row["source"] == source}
