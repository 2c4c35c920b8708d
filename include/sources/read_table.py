"""Rows of a SQL table as bronze takes them: those whose watermark lies within the days, every value as text."""

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
from include.sources.bronze_columns import FILE, ROW, UNDECLARED, bronze_schema
from include.sources.connections import Connections
from include.sources.database import SourceDatabase
from include.sources.errors import ColumnError, DatabaseError

CHUNK_ROWS = 20_000
"""Rows that travel together, and that memory holds at a time."""

_WATERMARK = "_churnflow_watermark"
_MIDNIGHT = dt.time()


@dataclass(frozen=True)
class SourceTable:
    """One table of a database that was found to have what its source declares.

    Attributes:
        source: The source's configuration.
        database: Its database.
        types: The table's columns and their types there, in the table's order.
    """

    source: Source
    database: SourceDatabase
    types: dict[str, sa.types.TypeEngine[Any]]

    @property
    def undeclared(self) -> tuple[str, ...]:
        """Columns of the table that the source does not declare; they are never read."""
        return tuple(sorted(set(self.types) - set(self.source.columns)))

    @property
    def label(self) -> str:
        """Where the table is, for messages."""
        return f"{self.database.label}, table {database_of(self.source).table}"

    def delivery(self, day: dt.date) -> str:
        """Return the name that bronze gives to the rows of ``day``."""
        return f"{database_of(self.source).table}@{day}"

    def where(self, day: dt.date) -> str:
        """Return where the rows of ``day`` are, for messages."""
        return f"{self.label}@{day}"


def find_table(source: Source, connections: Connections) -> SourceTable:
    """Return the table of a source.

    Raises:
        SourceConnectionError: The connection has no address that can be used.
        ConnectionLostError: The database cannot be reached.
        DatabaseError: There is no such table, or its watermark is no time.
        ColumnError: It has no such watermark.
    """
    database = SourceDatabase(database_of(source).connection, connections)
    types = database.retried(partial(_types, database, database_of(source)))
    table = SourceTable(source, database, types)
    _require_watermark(table)
    return table


def require_table_columns(table: SourceTable) -> None:
    """Compare the table's columns with those declared.

    Raises:
        ColumnError: The table lacks a declared column.
    """
    for column in sorted(set(table.source.columns) - set(table.types)):
        raise missing_table_column(column, table)


def missing_table_column(column: str, table: SourceTable) -> ColumnError:
    """Return the error for a table without a declared column."""
    return ColumnError(
        f"The table has no column {column!r}.",
        where=table.label,
        remedy=f"Ask {table.source.owner} whether it was renamed, and adapt sources.yaml.",
    )


def read_table(table: SourceTable, days: DayRange) -> pa.Table:
    """Return the table's rows of ``days`` in the form of bronze, from one consistent view of the database.

    Rows are numbered by watermark, then key. They go through a temporary file, so that a long range needs little
    memory; when the connection is lost, everything is read anew.

    Raises:
        ConnectionLostError: The database went away, again and again.
        DatabaseError: It refuses the query.
        DiskFullError: There is no space for temporary files.
    """
    return table.database.retried(partial(_read, table, days, rows_of(table, days)))


def database_of(source: Source) -> Database:
    """Return the ``database`` of a source that has one."""
    assert source.database is not None  # noqa: S101
    return source.database


def rows_of(table: SourceTable, days: DayRange) -> sa.Select[Any]:
    """Return the query for the rows of ``days``: the watermark as it is, then every declared column as text."""
    selectable, watermark = _selectable(table)
    texts = [sa.cast(selectable.c[name], sa.Text).label(name) for name in table.source.columns]
    keys = [selectable.c[name] for name in table.source.key]
    # The texts come last in the order, so that even rows of the same key always have the same numbers.
    return (
        sa.select(watermark.label(_WATERMARK), *texts)
        .where(*_within(table, watermark, days))
        .order_by(watermark, *keys, *texts)
    )


def sample_table(table: SourceTable, days: DayRange, rows: int) -> pa.Table:
    """Return at most ``rows`` rows of ``days``, whichever the database finds first, in the form of bronze.

    Raises:
        ConnectionLostError: The database went away, again and again.
        DatabaseError: It refuses the query.
    """
    query = rows_of(table, days).order_by(None).limit(rows)
    return table.database.retried(partial(_read, table, days, query))


def rows_by_day(table: SourceTable, days: DayRange) -> dict[dt.date, int]:
    """Return how many rows of ``days`` the table has now, for the days that have any."""
    _, watermark = _selectable(table)
    day = sa.cast(watermark, sa.Date)
    query = sa.select(day, sa.func.count()).where(*_within(table, watermark, days)).group_by(day)
    return {day: int(rows) for day, rows in table.database.fetch(query)}


def newest_watermark(table: SourceTable, last: dt.date) -> dt.datetime | None:
    """Return the newest watermark up to the close of ``last``, by UTC and without a zone."""
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
            f"There is no table {wanted.table}, or the connection's user may not see it.",
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
        # The file is mapped, not read; its pages stay until the table is dropped, also after the folder is gone.
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
