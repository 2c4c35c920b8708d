"""Maintenance of a table: whole days are removed, small files are joined, and files of earlier versions are deleted."""

from __future__ import annotations

import datetime as dt

from deltalake import DeltaTable

from include.lake.table import Table, commit_attempts

KEPT_HOURS = 7 * 24
"""The number of hours for which files of earlier versions are kept, for processes that read them; Delta's default."""


def remove_days_before(table: Table, first_kept: dt.date) -> list[dt.date]:
    """Remove the days before a day, in one commit, and return them.

    Args:
        table: The table; it need not exist.
        first_kept: The first day that is kept.
    """
    return remove_days(table, [day for day in table.days() if day < first_kept])


def remove_days(table: Table, days: list[dt.date]) -> list[dt.date]:
    """Remove days that are in the table, in one commit, and return them.

    Args:
        table: The table; it need not exist.
        days: The days.
    """
    old = sorted(set(table.days()) & set(days))
    if old:
        table.replace(old, table.schema().empty_table())
    return old


def compact(table: Table) -> tuple[int, int]:
    """Join the small files of each day, and delete files that no version of the last ``KEPT_HOURS`` hours contains.

    Rows and days do not change. A concurrent write has precedence: its days are joined the next time.

    Args:
        table: The table.

    Returns:
        The number of joined files and of deleted files.
    """
    for attempt in commit_attempts(3):
        with attempt:
            joined = DeltaTable(table.uri).optimize.compact()["numFilesRemoved"]
    deleted = DeltaTable(table.uri).vacuum(KEPT_HOURS, dry_run=False, full=True)
    return int(joined), len(deleted)
