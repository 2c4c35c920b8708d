"""The bronze tables: their columns, and the table that records every loaded delivery."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import DELIVERIES_TABLE
from include.projects import Source

FILE, ROW, UNDECLARED = "_file", "_row", "_undeclared"
"""Columns that bronze adds: the file, the row number in the file from 1, and undeclared columns as JSON text."""

UNREADABLE_START = '{"_unreadable": {'
"""The start of ``_undeclared`` of a row that could not be read.

The JSON text of undeclared columns has no blank after a colon, so that it does not begin in this way.
"""

_DELIVERIES_SCHEMA = pa.schema(
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
        dt: The day for which it was delivered.
        source: The name of the source.
        file: The name of the file, or ``table@day``.
        bytes: The size of the file in bytes; None for a database.
        rows: The number of rows.
    """

    dt: dt.date
    source: str
    file: str
    bytes: int | None
    rows: int


def bronze_schema(source: Source) -> pa.Schema:
    """Return the schema of a source's bronze table: its declared columns as text, and the columns of bronze."""
    text = [pa.field(name, pa.string()) for name in [*source.columns, UNDECLARED, FILE]]
    return pa.schema([*text, pa.field(ROW, pa.int64()), pa.field("dt", pa.date32())])


def unreadable_json(reason: str, text: str) -> str:
    """Return ``_undeclared`` of a row that could not be read.

    Args:
        reason: The reason.
        text: The row.
    """
    return json.dumps({"_unreadable": {"reason": reason, "text": text}})


def record_deliveries(lake: Lake, days: DayRange, loaded: Sequence[LoadedDelivery]) -> None:
    """Replace the records of the deliveries of ``days``.

    Args:
        lake: The lake.
        days: The days that were loaded.
        loaded: Their deliveries.
    """
    rows = pa.Table.from_pylist([vars(item) for item in loaded], schema=_DELIVERIES_SCHEMA)
    lake.table(DELIVERIES_TABLE).replace(days, rows)


def recorded_deliveries(lake: Lake, source: str, days: DayRange) -> list[LoadedDelivery]:
    """Return the loaded deliveries of a source.

    Args:
        lake: The lake.
        source: The name of the source.
        days: The range of days to look at.
    """
    table = lake.table(DELIVERIES_TABLE)
    rows = table.read(days).to_pylist() if table.exists() else []
    return [LoadedDelivery(**row) for row in rows if row["source"] == source]


def delivered_days(lake: Lake, source: str, days: DayRange) -> set[dt.date]:
    """Return the days with a loaded delivery of a source, including deliveries without rows.

    Args:
        lake: The lake.
        source: The name of the source.
        days: The range of days to look at.
    """
    table = lake.table(DELIVERIES_TABLE)
    if not table.exists():
        return set()
    rows = table.read(days, ["dt", "source"]).to_pylist()
    return {row["dt"] for row in rows if row["source"] == source}
