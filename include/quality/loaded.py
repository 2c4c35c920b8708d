"""Which days silver holds wholly: a day that was delivered, but whose gate was shut, is not among them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Set

import pyarrow as pa

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import SILVER_DAYS_TABLE


def loaded_days(lake: Lake, source: str, days: DayRange) -> set[dt.date]:
    """Return the days of ``days`` that silver holds of ``source``, also those without rows.

    Args:
        lake: The lake.
        source: The source's name.
        days: The days asked for.
    """
    table = lake.table(SILVER_DAYS_TABLE)
    if not table.exists():
        return set()
    rows = table.read(days, ["dt", "source"]).to_pylist()
    return {row["dt"] for row in rows if row["source"] == source}


def mark_loaded(lake: Lake, delivered: Mapping[str, Set[dt.date]], days: DayRange) -> None:
    """Record that silver now holds what was delivered for ``days``; written after the tables.

    Args:
        lake: The lake.
        delivered: The days of ``days`` that have a delivery, by source.
        days: The days.
    """
    found = [(day, source) for source, those in delivered.items() for day in sorted(those)]
    rows = {
        "dt": pa.array([day for day, _ in found], pa.date32()),
        "source": pa.array([source for _, source in found], pa.string()),
    }
    lake.table(SILVER_DAYS_TABLE).replace(days, pa.table(rows))
