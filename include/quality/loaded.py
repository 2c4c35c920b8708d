"""Which days silver holds wholly: a day that was delivered, but whose gate was shut, is not among them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import pyarrow as pa

from include.days import DayRange
from include.lake import Lake
from include.sources.bronze import delivered_days

DAYS = "silver/_days"
"""The table of days in silver, by source: a day without rows is there too."""


def loaded_days(lake: Lake, source: str, days: DayRange) -> set[dt.date]:
    """Return the days of ``days`` that silver holds of ``source``, also those without rows.

    Args:
        lake: The lake.
        source: The source's name.
        days: The days asked for.
    """
    table = lake.table(DAYS)
    if not table.exists():
        return set()
    rows = table.read(days, ["dt", "source"]).to_pylist()
    return {row["dt"] for row in rows if row["source"] == source}


def mark_loaded(lake: Lake, sources: Iterable[str], days: DayRange) -> None:
    """Record that silver now holds what was delivered of ``sources`` for ``days``; written after their tables."""
    found = [(day, source) for source in sources for day in sorted(delivered_days(lake, source, days))]
    lake.table(DAYS).replace(
        days,
        pa.table(
            {
                "dt": pa.array([day for day, _ in found], pa.date32()),
                "source": pa.array([source for _, source in found], pa.string()),
            }
        ),
    )
