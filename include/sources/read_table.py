"""Read the rows of a SQL table with a watermark within given days into bronze rows: all values as text."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

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

_WATERMARK = "_churnflow_watermark"
_MIDNIGHT = dt.time()


@dataclass(frozen=True)
class SourceTable:
    """A database table that exists and has the watermark column of its source.

    Attributes:
        source: The configuration of the source.
        database: The database.
        types: The columns and their database types, in table order.
    """

    source: Source
    database: SourceDatabase
    types: dict[str, sa.types.TypeEngine[Any]]

    @property
    def undeclared(self) -> tuple[str, ...]:
        """The columns that the source does not declare; they are not read."""
        return tuple(sorted(set(self.types) - set(self.source.columns)))

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


def find_table(source: Source, connections: Connections) -> SourceTable:
    """Look up the table of a source.

    Args:
        source: The configuration of the source, with ``database``.
        connections: The addresses.

    Raises:
        SourceConnectionError: The connection has no valid address.
        ConnectionLostError: The database cannot be reached.
        DatabaseError: The table does not exist, or its watermark is neither a date nor a timestamp.
        ColumnError: The table has no watermark column.
    """
    database = SourceDatabase(database_of(source).connection, connections)
    types = database.retried(partial(_types, database, database_of(source)))
    table = SourceTable(source, database, types)
    _require_watermark(table)
    return table


def require_table_columns(table: SourceTable) -> None:
    """Check that the table has the declared columns.

    Raises:
        ColumnError: The table lacks a declared column.
    """
    for column in sorted(set(table.source.columns) - set(table.types)):
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

    Rows are numbered by watermark, then key. They are buffered in a temporary file, so that a long range uses little
    memory; if the connection is lost, the read starts again.

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
    """Return the query for the rows of ``days``: the watermark, then every declared column as text.

    Args:
        table: The table.
        days: The days.
    """
    selectable, watermark = _selectable(table)
    texts = [sa.cast(selectable.c[name], sa.Text).label(name) for name in table.source.columns]
    keys = [selectable.c[name] for name in table.source.key]
    # The texts are the last sort keys, so that the numbers of rows with the same key are stable.
    return (
        sa.select(watermark.label(_WATERMARK), *texts)
        .where(*_within(table, watermark, days))
        .order_by(watermark, *keys, *texts)
    )


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
    _, watermark = _selectable(table)
    day = sa.cast(watermark, sa.Date)
    query = sa.select(day, sa.func.count()).where(*_within(table, watermark, days)).group_by(day)
    return {day: int(rows) for day, rows in table.database.fetch(query)}


def newest_watermark(table: SourceTable, last: dt.date) -> dt.datetime | None:
    """Return the newest watermark up to the end of a day, in UTC and without a time zone.

    Args:
        table: The table.
        last: The last day.
    """
    _, watermark = _selectable(table)
    query = sa.select(sa.func.max(watermark)).where(watermark < _bound(table, last + dt.timedelta(days=1)))
    (row,) = table.database.fetch(query)
    if isinstance(row[0], dt.datetime):
        return row[0].astimezone(dt.UTC).replace(tzinfo=None) if row[0].tzinfo else row[0]
    return None if row[0] is None else dt.datetime.combine(row[0], _MIDNIGHT)


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
    if watermark not in table.types:
        raise missing_table_column(watermark, table)
    if not isinstance(table.types[watermark], sa.Date | sa.DateTime):
        raise DatabaseError(
            f"The watermark {watermark!r} is of type {table.types[watermark]}, not a date or timestamp.",
            where=table.label,
            remedy="Name another column as the watermark in sources.yaml.",
        )


def _selectable(table: SourceTable) -> tuple[sa.TableClause, sa.ColumnClause[Any]]:
    wanted = database_of(table.source)
    schema, _, name = wanted.table.rpartition(".")
    columns = [sa.column(name, kind) for name, kind in table.types.items()]
    selectable = sa.table(name, *columns, schema=schema or None)
    return selectable, selectable.c[wanted.watermark]


def _within(table: SourceTable, watermark: sa.ColumnClause[Any], days: DayRange) -> list[sa.ColumnElement[bool]]:
    after = days.last + dt.timedelta(days=1)
    return [watermark >= _bound(table, days.first), watermark < _bound(table, after)]


def _bound(table: SourceTable, day: dt.date) -> dt.date:
    kind = table.types[database_of(table.source).watermark]
    if isinstance(kind, sa.Date):
        return day
    return dt.datetime.combine(day, _MIDNIGHT, dt.UTC if getattr(kind, "timezone", False) else None)


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
    days = [_day(watermark) for watermark in watermarks]
    positions = []
    for day in days:
        numbers[day] += 1
        positions.append(numbers[day])
    values: dict[str, Sequence[Any]] = dict(zip(table.source.columns, texts, strict=True))
    values |= {UNDECLARED: [None] * len(days), FILE: [table.delivery(day) for day in days], ROW: positions, "dt": days}
    return pa.RecordBatch.from_pydict(values, schema=schema)


def _day(watermark: dt.date) -> dt.date:
    if isinstance(watermark, dt.datetime):
        return (watermark.astimezone(dt.UTC) if watermark.tzinfo else watermark).date()
    return watermark
