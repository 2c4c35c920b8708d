"""Permanent deletion of rows: from a table, and from everything that its earlier versions left behind.

Delta keeps the files of earlier versions and a log of all commits, whose statistics and predicates contain values of
rows. Therefore an erasure deletes the rows, the files that only earlier versions contain, and the earlier log.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import fsspec
from deltalake import DeltaTable

from include.lake.table import Table, commit_attempts, day_predicate
from include.lineage import record_write
from include.local_files import disk_full_errors

_LOG_FILE = re.compile(r"(\d{20})\.")
_SQL_TYPES = {Decimal: "DECIMAL(18, 4)", dt.datetime: "TIMESTAMP", dt.date: "DATE"}


def delete_rows(table: Table, days: Sequence[dt.date], values: Mapping[str, Sequence[Any]]) -> int:
    """Delete the rows of some days that have one of the values in one of the columns, and return their number.

    Only the files with such rows are written again. A concurrent write of other days does not conflict; a concurrent
    write of the same day is repeated, or this deletion is.

    Args:
        table: The table.
        days: The days to which the deletion is limited.
        values: The values by column; at least one.

    Raises:
        DiskFullError: The disk is full; the table is unchanged.
    """
    columns = " OR ".join(f'"{name}" IN ({_literals(found)})' for name, found in values.items())
    predicate = f"{day_predicate(days)} AND ({columns})"
    for attempt in commit_attempts(6):
        with attempt, disk_full_errors(table.uri):
            current = DeltaTable(table.uri)
            deleted = current.delete(predicate)["num_deleted_rows"]
    record_write(table.name, table.uri, current.version(), table.schema())
    return int(deleted or 0)


def forget_history(table: Table, running: dt.timedelta) -> int:
    """Delete everything but the current version of a table, and return the number of deleted data files.

    A process that reads an earlier version at this moment fails, and can be repeated. The files of a write that has not
    been committed are kept unless they are older than any running write.

    Args:
        table: The table.
        running: The longest time that a write takes.
    """
    hours = math.ceil(running / dt.timedelta(hours=1))
    files = _vacuum(table, 0, full=False) + _vacuum(table, hours, full=True)
    # The last commit is of the vacuum, or another one without the deleted rows.
    current = DeltaTable(table.uri)
    current.create_checkpoint()
    _delete_log_before(table.uri, current.version())
    return len(set(files))


def _vacuum(table: Table, hours: int, *, full: bool) -> list[str]:
    return DeltaTable(table.uri).vacuum(hours, dry_run=False, enforce_retention_duration=False, full=full)


def _delete_log_before(uri: str, version: int) -> None:
    files, root = fsspec.url_to_fs(uri)
    files.invalidate_cache()
    logs = files.find(f"{root}/_delta_log")
    names = {path: _LOG_FILE.match(path.rsplit("/", 1)[-1]) for path in logs}
    old = [path for path, name in names.items() if name and int(name[1]) < version]
    if old:
        files.rm(old)


def _literals(values: Sequence[Any]) -> str:
    return ", ".join(_literal(value) for value in values)


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    kind = _SQL_TYPES.get(type(value))
    return f"CAST('{value}' AS {kind})" if kind else str(value).lower()
