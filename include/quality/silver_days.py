"""The days that silver contains completely; these do not include a delivered day if its gate was shut."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Set

import pyarrow as pa

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import SILVER_DAYS_TABLE


def loaded_days(lake: Lake, source: str, days: DayRange) -> set[dt.date]:
    """Return the days of a source that silver contains, including days without rows.

    Args:
        lake: The lake.
        source: The source's name.
        days: The range of days.
    """
    table = lake.table(SILVER_DAYS_TABLE)
    if not table.exists():
        return set()
    rows = table.read(days, ["dt", "source"]).to_pylist()
    return {row["dt"] for row in rows if row["source"] == source}


def record_loaded_days(lake: Lake, delivered: Mapping[str, Set[dt.date]], days: DayRange) -> None:
    """Record the delivered days that silver contains, after the silver tables have been written.

    Args:
        lake: The lake.
        delivered: The days of ``days`` that have a delivery, by source.
        days: The range of days.
    """
    found = [(day, source) for source, loaded in delivered.items() for day in sorted(loaded)]
    rows = {
        "dt": pa.array([day for day, _ in found], pa.date32()),
        "source": pa.array([source for _, source in found], pa.string()),
    }
    lake.table(SILVER_DAYS_TABLE).replace(days, pa.table(rows))
