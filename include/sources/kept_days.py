"""The first day that the retention periods have left, since days before it cannot be ingested again."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from include.days import DayRange
from include.errors import ChurnflowError
from include.lake import Lake
from include.lake.table_names import KEPT_TABLE
from include.projects import Project
from include.projects.keep_days import longest_event_window


class RemovedDaysError(ChurnflowError):
    """A day cannot be ingested, because rows that it reads were removed after their retention period."""


def record_first_kept(lake: Lake, day: dt.date) -> None:
    """Record the first day from which the bronze and silver rows of events are kept, in place of an earlier record.

    Args:
        lake: The lake.
        day: The day.
    """
    table, row = lake.table(KEPT_TABLE), {"dt": pa.array([day], pa.date32()), "layers": ["bronze, silver"]}
    table.replace(sorted({*table.days(), day}), pa.table(row))


def first_kept(lake: Lake) -> dt.date | None:
    """Return the first day from which the bronze and silver rows of events are kept; None if no day was removed."""
    return max(lake.table(KEPT_TABLE).days(), default=None)


def require_kept(project: Project, lake: Lake, days: DayRange) -> None:
    """Check that the rows that an ingest of days reads were not removed.

    Args:
        project: The project.
        lake: The lake.
        days: The days.

    Raises:
        RemovedDaysError: The rows of a window of these days were removed.
    """
    kept = first_kept(lake)
    if kept is None:
        return
    first = kept + dt.timedelta(days=longest_event_window(project) - 1)
    if days.first < first:
        raise RemovedDaysError(
            f"Rows before {kept} were removed after their retention period. Days before {first} read such rows, so they"
            " cannot be ingested again.",
            where=f"keep_days in project.yaml, and {lake.table(KEPT_TABLE).uri}",
            remedy="Ingest later days. To load removed days, raise the periods and ingest all days into a new lake.",
        )
