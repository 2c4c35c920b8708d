"""Read the rows of a SQL table into bronze rows: all values as text.

The rows of a day are the rows with a watermark within that business day. Without a watermark, a table is read whole.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import sqlalchemy as sa

from include.days import DayRange
from include.local_files import disk_full_errors
from include.projects import Source
from include.projects.sources import Database
from include.sources.bronze_tables import FILE, ROW, UNDECLARED, bronze_schema
from include.sources.connections import Connections
from include.sources.database import SourceDatabase
from include.sources.errors import ColumnError, DatabaseError

CHUNK_ROWS = 20_000
"""Number of rows fetched and held in memory at a time."""

_WATERMARK, _DAY = "_churnflow_watermark", "_churnflow_day"
_MIDNIGHT = dt.time()
_FIRST_DAY, _LAST_DAY = dt.date(1970, 1, 1), dt.date(9999, 1, 1)
"""Watermarks outside these days, such as ``infinity``, belong to no day; drivers cannot represent all of them."""


@dataclass(frozen=True)
class SourceTable:
    """A database table that exists and has the watermark column of its source, if the source has one.

    Attributes:
        source: The configuration of the source.
        database: The database.
        types: The columns and their database types, in table order.
        timezone: The time zone of business days.
    """

    source: Source
    database: SourceDatabase
    types: dict[str, sa.types.TypeEngine[Any]]
    timezone: str

    @property
    def undeclared(self) -> tuple[str, ...]:
        """The columns that the source does not declare; they are not read."""
        return tuple(sorted(set(self.types) - set(map(self.source.delivered_name, self.source.columns))))

    @property
    def label(self) -> str:
        """The address of the table, for messages."""
        return f"{self.database.label}, table {database_of(self.source).table}"

    def delivery(self, day: dt.date) -> str:
        """Return the name of the delivery of ``day`` in bronze."""
        return f"{database_of(self.source).table}@{day}"

    def where(self, day: dt.date) -> str:
        """Return the address of the rows of ``day``, for messages."""
        return f"{self.label}@{day}"


def find_table(source: Source, connections: Connections, timezone: str) -> SourceTable:
    """Look up the table of a source.

    Args:
        source: The configuration of the source, with ``database``.
        connections: The addresses.
        timezone: The time zone of business days.

    Raises:
        SourceConnectionError: The connection has no valid address.
        ConnectionLostError: The database cannot be reached.
        DatabaseError: The table does not exist, or its watermark is neither a date nor a timestamp.
        ColumnError: The table has no watermark column.
    """
    database = SourceDatabase(database_of(source).connection, connections)
    types = database.retried(partial(_types, database, database_of(source)))
    table = SourceTable(source, database, types, timezone)
    _require_watermark(table)
    return table


def require_table_columns(table: SourceTable) -> None:
    """Check that the table has the declared columns.

    Raises:
        ColumnError: The table lacks a declared column.
    """
    for column in sorted(set(map(table.source.delivered_name, table.source.columns)) - set(table.types)):
        raise missing_table_column(column, table)


def missing_table_column(column: str, table: SourceTable) -> ColumnError:
    """Return the error for a table that lacks a column.

    Args:
        column: The name of the column.
        table: The table.
    """
    return ColumnError(
        f"The table has no column {column!r}.",
        where=table.label,
        remedy=f"Ask {table.source.owner} whether it was renamed, and adapt sources.yaml.",
    )


def read_table(table: SourceTable, days: DayRange) -> pa.Table:
    """Return the rows of ``days`` as bronze rows, from one consistent snapshot of the database.

    All rows of a table without a watermark belong to the last day. Rows are numbered by watermark, then key. They are
    buffered in a temporary file, so that a long range uses little memory; if the connection is lost, the read starts
    again.

    Args:
        table: The table.
        days: The days.

    Raises:
        ConnectionLostError: The connection was lost in every attempt.
        DatabaseError: The database rejected the query.
        DiskFullError: There is no space for temporary files.
    """
    return table.database.retried(partial(_read, table, days, rows_query(table, days)))


def database_of(source: Source) -> Database:
    """Return the ``database`` configuration of a source that is read from a database."""
    assert source.database is not None  # noqa: S101
    return source.database


def rows_query(table: SourceTable, days: DayRange) -> sa.Select[Any]:
    """Return the query for the rows of ``days``: the watermark or null, then every declared column as text.

    Args:
        table: The table.
        days: The days.
    """
    selectable, watermark = _selectable(table)
    column = {name: selectable.c[table.source.delivered_name(name)] for name in table.source.columns}
    texts = [sa.cast(column[name], sa.Text).label(name) for name in table.source.columns]
    # The texts are the last sort keys, so that the numbers of rows with the same key are stable.
    order = [*(column[name] for name in table.source.key), *texts]
    first: sa.ColumnElement[Any] = sa.null() if watermark is None else watermark
    query: sa.Select[Any] = sa.select(first.label(_WATERMARK), *texts)
    if watermark is None:
        return query.order_by(*order)
    return query.where(*_within(table, watermark, days)).order_by(watermark, *order)


def sample_table(table: SourceTable, days: DayRange, rows: int) -> pa.Table:
    """Return at most ``rows`` rows of ``days`` as bronze rows, in no particular order.

    Args:
        table: The table.
        days: The days.
        rows: Maximum number of rows.

    Raises:
        ConnectionLostError: The connection was lost in every attempt.
        DatabaseError: The database rejected the query.
    """
    query = rows_query(table, days).order_by(None).limit(rows)
    return table.database.retried(partial(_read, table, days, query))


def rows_by_day(table: SourceTable, days: DayRange) -> dict[dt.date, int]:
    """Count the rows of each day; days without rows are left out.

    Args:
        table: The table.
        days: The days.
    """
    selectable, watermark = _selectable(table)
    if watermark is None:
        ((rows,),) = table.database.fetch(sa.select(sa.func.count()).select_from(selectable))
        return {days.last: int(rows)} if rows else {}
    day = _position(watermark, [_bound(table, day) for day in days], 0, len(days)).label(_DAY)
    each = sa.select(day).where(*_within(table, watermark, days)).subquery()
    query = sa.select(each.c[_DAY], sa.func.count()).group_by(each.c[_DAY])
    return {days.first + dt.timedelta(days=position): int(rows) for position, rows in table.database.fetch(query)}


def rows_outside_time(table: SourceTable) -> int:
    """Count the rows that belong to no day, since their watermark is null, infinite or outside the years 1970 to 9998.

    Args:
        table: The table.
    """
    selectable, watermark = _selectable(table)
    if watermark is None:
        return 0
    first, after = (_bound(table, day) for day in (_FIRST_DAY, _LAST_DAY))
    outside = sa.or_(watermark.is_(None), watermark < first, watermark >= after)
    ((rows,),) = table.database.fetch(sa.select(sa.func.count()).select_from(selectable).where(outside))
    return int(rows)


def newest_watermark(table: SourceTable, last: dt.date) -> dt.datetime | None:
    """Return the newest watermark up to the end of a day, in UTC and without a time zone.

    Args:
        table: The table, with a watermark.
        last: The last day.
    """
    _, watermark = _selectable(table)
    if watermark is None:
        return None
    query = sa.select(sa.func.max(watermark)).where(*_within(table, watermark, DayRange(_FIRST_DAY, last)))
    ((newest,),) = table.database.fetch(query)
    if newest is None:
        return None
    if not isinstance(newest, dt.datetime):
        newest = dt.datetime.combine(newest, _MIDNIGHT, ZoneInfo(table.timezone))
    elif newest.tzinfo is None:
        newest = newest.replace(tzinfo=ZoneInfo(table.source.timezone))
    return newest.astimezone(dt.UTC).replace(tzinfo=None)


def _types(database: SourceDatabase, wanted: Database) -> dict[str, sa.types.TypeEngine[Any]]:
    schema, _, name = wanted.table.rpartition(".")
    with database.connect() as connection:
        try:
            columns = sa.inspect(connection).get_columns(name, schema or None)
        except sa.exc.NoSuchTableError:
            columns = []
    if not columns:
        raise DatabaseError(
            f"There is no table {wanted.table}, or the user of the connection has no access to it.",
            where=database.label,
            remedy="Correct the table in sources.yaml, or grant SELECT on it.",
        )
    return {column["name"]: column["type"] for column in columns}


def _require_watermark(table: SourceTable) -> None:
    watermark = database_of(table.source).watermark
    if watermark is None:
        return
    if watermark not in table.types:
        raise missing_table_column(watermark, table)
    if not isinstance(table.types[watermark], sa.Date | sa.DateTime):
        raise DatabaseError(
            f"The watermark {watermark!r} is of type {table.types[watermark]}, not a date or timestamp.",
            where=table.label,
            remedy="Name another column as the watermark in sources.yaml.",
        )


def _selectable(table: SourceTable) -> tuple[sa.TableClause, sa.ColumnClause[Any] | None]:
    wanted = database_of(table.source)
    schema, _, name = wanted.table.rpartition(".")
    columns = [sa.column(name, kind) for name, kind in table.types.items()]
    selectable = sa.table(name, *columns, schema=schema or None)
    return selectable, None if wanted.watermark is None else selectable.c[wanted.watermark]


def _within(table: SourceTable, watermark: sa.ColumnClause[Any], days: DayRange) -> list[sa.ColumnElement[bool]]:
    first, after = (_bound(table, day) for day in (days.first, days.last + dt.timedelta(days=1)))
    return [watermark >= first, watermark < after]


def _bound(table: SourceTable, day: dt.date) -> dt.date:
    """Return the watermark with which a business day begins."""
    watermark = database_of(table.source).watermark
    kind = table.types[watermark or ""]
    if isinstance(kind, sa.Date):
        return day
    begin = dt.datetime.combine(day, _MIDNIGHT, ZoneInfo(table.timezone))
    if getattr(kind, "timezone", False):
        return begin.astimezone(dt.UTC)
    return begin.astimezone(ZoneInfo(table.source.timezone)).replace(tzinfo=None)


def _position(watermark: sa.ColumnClause[Any], bounds: Sequence[dt.date], first: int, after: int) -> Any:
    # A binary search in SQL for the last bound up to the watermark; databases differ in functions for time zones.
    if after - first == 1:
        return sa.literal(first)
    middle = (first + after) // 2
    lower, upper = _position(watermark, bounds, first, middle), _position(watermark, bounds, middle, after)
    return sa.case((watermark < bounds[middle], lower), else_=upper)


def _read(table: SourceTable, days: DayRange, query: sa.Select[Any]) -> pa.Table:
    schema = bronze_schema(table.source)
    with tempfile.TemporaryDirectory(prefix="churnflow-") as folder:
        path = Path(folder) / "rows.arrow"
        with disk_full_errors(folder), pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in _batches(table, days, query, schema):
                writer.write_batch(batch)
        # The memory map stays valid after the folder is removed, until the table is released.
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _batches(table: SourceTable, days: DayRange, query: sa.Select[Any], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    numbers = dict.fromkeys(days, 0)
    with table.database.connect() as connection:
        streaming = connection.execution_options(stream_results=True, yield_per=CHUNK_ROWS)
        for rows in streaming.execute(query).partitions():
            yield _batch(table, rows, numbers, schema)


def _batch(
    table: SourceTable, rows: Sequence[sa.Row[Any]], numbers: dict[dt.date, int], schema: pa.Schema
) -> pa.RecordBatch:
    watermarks, *texts = zip(*rows, strict=True)
    known = list(numbers)
    if database_of(table.source).watermark is None:
        days = [known[-1]] * len(watermarks)
    else:
        bounds = [_bound(table, day) for day in known]
        days = [known[bisect_right(bounds, watermark) - 1] for watermark in watermarks]
    positions = []
    for day in days:
        numbers[day] += 1
        positions.append(numbers[day])
    values: dict[str, Sequence[Any]] = dict(zip(table.source.columns, texts, strict=True))
    values |= {UNDECLARED: [None] * len(days), FILE: [table.delivery(day) for day in days], ROW: positions, "dt": days}
    return pa.RecordBatch.from_pydict(values, schema=schema)
