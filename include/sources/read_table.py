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
from include.projects import Source
from include.projects.sources import Database
from include.sources.columns import FILE, ROW, UNDECLARED, bronze_schema
from include.sources.database import SourceDatabase
from include.sources.errors import ColumnError, DatabaseError
from include.sources.origins import Origins

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

    def delivery(self, day: dt.date) -> str:
        """Return the name that bronze gives to the rows of ``day``."""
        return f"{database_of(self.source).table}@{day}"

    def where(self, day: dt.date) -> str:
        """Return where the rows of ``day`` are, for messages."""
        return f"{self.database.label}, table {self.delivery(day)}"


def find_table(source: Source, origins: Origins) -> SourceTable:
    """Return the table of a source, with its columns compared.

    Raises:
        OriginError: The connection has no address that can be used.
        ConnectionLostError: The database cannot be reached.
        DatabaseError: There is no such table, or its watermark is no time.
        ColumnError: It lacks a declared column.
    """
    database = SourceDatabase(database_of(source).connection, origins)
    types = database.retried(partial(_types, database, database_of(source)))
    _require_columns(source, database, types)
    return SourceTable(source, database, types)


def read_table(table: SourceTable, days: DayRange) -> pa.Table:
    """Return the table's rows of ``days`` in the form of bronze, from one consistent view of the database.

    Rows are numbered by watermark, then key. They go through a temporary file, so that a long range needs little
    memory; when the connection is lost, everything is read anew.

    Raises:
        ConnectionLostError: The database went away, again and again.
        DatabaseError: It refuses the query.
    """
    return table.database.retried(partial(_read, table, days))


def database_of(source: Source) -> Database:
    """Return the ``database`` of a source that has one."""
    assert source.database is not None  # noqa: S101
    return source.database


def rows_of(table: SourceTable, days: DayRange) -> sa.Select[Any]:
    """Return the query for the rows of ``days``: the watermark as it is, then every declared column as text."""
    selectable, watermark = _selectable(table)
    texts = [sa.cast(selectable.c[name], sa.Text).label(name) for name in table.source.columns]
    keys = [selectable.c[name] for name in table.source.key]
    after = days.last + dt.timedelta(days=1)
    # The texts come last in the order, so that even rows of the same key always have the same numbers.
    return (
        sa.select(watermark.label(_WATERMARK), *texts)
        .where(watermark >= _bound(table, days.first), watermark < _bound(table, after))
        .order_by(watermark, *keys, *texts)
    )


def newest(table: SourceTable, last: dt.date) -> sa.Select[Any]:
    """Return the query for the newest watermark up to the close of ``last``."""
    _, watermark = _selectable(table)
    return sa.select(sa.func.max(watermark)).where(watermark < _bound(table, last + dt.timedelta(days=1)))


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


def _require_columns(source: Source, database: SourceDatabase, types: dict[str, sa.types.TypeEngine[Any]]) -> None:
    wanted = database_of(source)
    where = f"{database.label}, table {wanted.table}"
    for column in sorted({*source.columns, wanted.watermark} - set(types)):
        raise ColumnError(
            f"The table has no column {column!r}.",
            where=where,
            remedy=f"Ask {source.owner} whether it was renamed, and adapt sources.yaml.",
        )
    if not isinstance(types[wanted.watermark], sa.Date | sa.DateTime):
        raise DatabaseError(
            f"The watermark {wanted.watermark!r} is of type {types[wanted.watermark]}, not a date or timestamp.",
            where=where,
            remedy="Name another column as the watermark in sources.yaml.",
        )


def _selectable(table: SourceTable) -> tuple[sa.TableClause, sa.ColumnClause[Any]]:
    wanted = database_of(table.source)
    schema, _, name = wanted.table.rpartition(".")
    columns = [sa.column(name, kind) for name, kind in table.types.items()]
    selectable = sa.table(name, *columns, schema=schema or None)
    return selectable, selectable.c[wanted.watermark]


def _bound(table: SourceTable, day: dt.date) -> dt.date:
    kind = table.types[database_of(table.source).watermark]
    if isinstance(kind, sa.Date):
        return day
    return dt.datetime.combine(day, _MIDNIGHT, dt.UTC if getattr(kind, "timezone", False) else None)


def _read(table: SourceTable, days: DayRange) -> pa.Table:
    schema = bronze_schema(table.source)
    with tempfile.TemporaryDirectory(prefix="churnflow-") as folder:
        path = Path(folder) / "rows.arrow"
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for batch in _batches(table, days, schema):
                writer.write_batch(batch)
        # The file is mapped, not read; its pages stay until the table is dropped, also after the folder is gone.
        return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _batches(table: SourceTable, days: DayRange, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    numbers = dict.fromkeys(days, 0)
    with table.database.connect() as connection:
        streaming = connection.execution_options(stream_results=True, yield_per=CHUNK_ROWS)
        for rows in streaming.execute(rows_of(table, days)).partitions():
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
