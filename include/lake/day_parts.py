"""Rows by day, without a filter for each day, whose time would grow with the square of the number of days."""

from __future__ import annotations

import datetime as dt
from itertools import accumulate

import pyarrow as pa


def split_by_day(rows: pa.Table) -> dict[dt.date, pa.Table]:
    """Return the rows of each day in the column ``dt``, in their order.

    Args:
        rows: The rows.

    Example:
        >>> days = [dt.date(2024, 1, 2), dt.date(2024, 1, 1), dt.date(2024, 1, 2)]
        >>> parts = split_by_day(pa.table({"dt": days, "amount": [1, 2, 3]}))
        >>> {str(day): part["amount"].to_pylist() for day, part in parts.items()}
        {'2024-01-01': [2], '2024-01-02': [1, 3]}
    """
    ordered = rows.sort_by("dt")
    counts = count_by_day(ordered)
    starts = accumulate(counts.values(), initial=0)
    return {day: ordered.slice(start, count) for (day, count), start in zip(counts.items(), starts, strict=False)}


def count_by_day(rows: pa.Table) -> dict[dt.date, int]:
    """Return the number of rows of each day in the column ``dt``, in the order of the days' first rows.

    Args:
        rows: The rows.
    """
    return {item["values"]: item["counts"] for item in rows["dt"].value_counts().to_pylist()}
