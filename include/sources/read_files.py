"""Read delivered files of every format into bronze rows: all values as text."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.lake.engine import NO_EXTENSIONS
from include.projects import Source
from include.projects.sources import Column
from include.sources.bronze_tables import FILE, ROW, UNDECLARED, bronze_schema, unreadable_json
from include.sources.csv_format import UnreadableRow, csv_tables
from include.sources.delivered_files import (
    UNNAMED,
    Deliveries,
    Delivery,
    content_errors,
    files_of,
    missing_column,
    open_delivery,
    open_parquet,
    similar_names,
)
from include.sources.file_content import ContentError, OpenFile
from include.sources.json_format import json_objects, json_texts
from include.sources.storage import DailyFiles, StoredFile

_BATCH_ROWS = 100_000
_JSON_BATCH_ROWS = 5_000
"""Number of JSON lines held as Python objects, which are slow to collect in larger numbers."""


def read_files(source: Source, deliveries: Deliveries) -> pa.Table:
    """Return all rows of ``deliveries`` as bronze rows.

    Args:
        source: The configuration of the source.
        deliveries: Its deliveries.

    Raises:
        CorruptFileError: A file cannot be parsed in its format.
        ColumnError: No line of a JSON-lines file has a required column.
        UnreadableFileError: The object store does not answer.
        TooLargeError: A file does not fit into memory.
    """
    with _engine() as engine:
        tables = [_read(engine, source, deliveries.storage, item, None) for item in deliveries.items]
    return _concatenated(source, tables)


def sample_files(source: Source, deliveries: Deliveries, rows: int) -> pa.Table:
    """Return at most ``rows`` rows of ``deliveries`` as bronze rows, from the newest files first.

    Args:
        source: The configuration of the source.
        deliveries: Its deliveries.
        rows: Maximum number of rows.

    Raises:
        CorruptFileError: A file cannot be parsed in its format.
        UnreadableFileError: The object store does not answer.
        TooLargeError: A file does not fit into memory.
    """
    tables: list[pa.Table] = []
    with _engine() as engine:
        for item in reversed(deliveries.items):
            missing = rows - sum(table.num_rows for table in tables)
            if missing > 0:
                tables.append(_read(engine, source, deliveries.storage, item, missing))
    return _concatenated(source, tables)


def read_local_file(source: Source, path: Path) -> pa.Table:
    """Return the named columns of a local file as texts, in file order.

    Args:
        source: A source with the format of the file; its columns are ignored.
        path: The file.

    Raises:
        EmptyFileError: The file has no content.
        CorruptFileError: The file cannot be parsed in its format.
    """
    storage = DailyFiles(str(path), files_of(source).compression)
    file = StoredFile(str(path), path.stat().st_size)
    item = open_delivery("table", source, storage, dt.date.min, file)
    names = [name for position, name in enumerate(item.columns, 1) if name != f"{UNNAMED} {position}"]
    # A file may have columns with the names of columns that bronze adds.
    columns = {f"column {number}": Column(type="string", delivered_as=name) for number, name in enumerate(names)}
    source = source.model_copy(update={"columns": columns})
    with _engine() as engine:
        rows = _read(engine, source, storage, replace(item, undeclared=()), None)
    return rows.select(list(columns)).rename_columns(names)


def _engine() -> duckdb.DuckDBPyConnection:
    # Not the lake's database, which does not preserve the order of rows.
    engine = _database(os.getpid()).cursor()
    engine.execute("SET TimeZone = 'UTC'")
    return engine


@cache
def _database(process: int) -> duckdb.DuckDBPyConnection:
    # A forked process has its own database, since the threads of the parent's database do not exist there.
    return duckdb.connect(config={**NO_EXTENSIONS})


def _read(
    engine: duckdb.DuckDBPyConnection, source: Source, storage: DailyFiles, item: Delivery, limit: int | None
) -> pa.Table:
    open_file, unreadable = partial(storage.open, item.file), list[UnreadableRow]()
    with content_errors(source, item.file):
        if files_of(source).format == "jsonl":
            rows = _json_rows(source, open_file, item, limit, unreadable)
        else:
            rows = _column_rows(engine, source, open_file, item, limit, unreadable)
    rows = pa.concat_tables([rows, _unreadable_rows(rows.schema, unreadable)]).sort_by(ROW) if unreadable else rows
    if limit is not None:
        rows = rows.slice(0, limit)
    rows = rows.append_column(FILE, pa.repeat(item.file.name, len(rows)))
    return rows.append_column("dt", pa.repeat(pa.scalar(item.day, pa.date32()), len(rows)))


def _concatenated(source: Source, tables: Sequence[pa.Table]) -> pa.Table:
    schema = bronze_schema(source)
    return pa.concat_tables([schema.empty_table(), *(table.select(schema.names).cast(schema) for table in tables)])


def _column_rows(
    engine: duckdb.DuckDBPyConnection,
    source: Source,
    open_file: OpenFile,
    item: Delivery,
    limit: int | None,
    unreadable: list[UnreadableRow],
) -> pa.Table:
    if files_of(source).format == "parquet":
        parts = _parquet_tables(open_file, item)
    else:
        parts = csv_tables(open_file, files_of(source), list(item.columns), unreadable)
    # Columns are addressed by position, since the engine does not distinguish upper and lower case.
    texts = _texts(source, item)
    empty = pa.table({name: pa.array([], pa.string()) for name in [*source.columns, UNDECLARED]})
    tables = [empty]
    for part in parts:
        tables.append(engine.from_arrow(part).project(texts).to_arrow_table().cast(empty.schema))
        if limit is not None and sum(map(len, tables)) >= limit:
            break
    rows = pa.concat_tables(tables)
    return rows.append_column(ROW, pa.array(_numbers(len(rows), unreadable), pa.int64()))


def _texts(source: Source, item: Delivery) -> str:
    position = {name: f'"{number}"' for number, name in enumerate(item.columns)}
    declared = [f"CAST({position[source.delivered_name(name)]} AS VARCHAR) AS {_name(name)}" for name in source.columns]
    packed = ", ".join(f"{_quote(name)}, {position[name]}" for name in item.undeclared)
    extra = f"CAST(json_object({packed}) AS VARCHAR)" if packed else "CAST(NULL AS VARCHAR)"
    return ", ".join([*declared, f"{extra} AS {UNDECLARED}"])


def _parquet_tables(open_file: OpenFile, item: Delivery) -> Iterator[pa.Table]:
    undeclared = set(item.undeclared)
    with open_file() as stream:
        for batch in open_parquet(stream).iter_batches(_BATCH_ROWS):
            columns = [
                _readable(column, name, is_declared=name not in undeclared)
                for name, column in zip(item.columns, batch.columns, strict=True)
            ]
            yield pa.table(columns, names=[str(position) for position in range(len(columns))])


def _readable(column: pa.Array, name: str, *, is_declared: bool) -> pa.Array:
    """Return a column with a type that the engine can convert to text."""
    kind = column.type
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    if pa.types.is_decimal256(kind) or kind == pa.string_view():
        return column.cast(pa.string())
    if pa.types.is_timestamp(kind):
        return _with_far_years(column)
    if is_declared and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or kind == pa.binary_view()):
        try:
            return column.cast(pa.string())
        except pa.ArrowInvalid as error:
            raise ContentError(f"the column {name!r} contains bytes that are not UTF-8 text") from error
    return column


def _with_far_years(column: pa.Array) -> pa.Array:
    """Return timestamps, or their texts if a year has more than four digits, which the engine cannot convert."""
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
    numbers = column.cast(pa.int64())
    bounds = pc.min_max(numbers).as_py()
    limit = 9_000_000_000_000 * per_second  # the seconds of 285,000 years
    if bounds["min"] is None or (-limit < bounds["min"] and bounds["max"] < limit):
        return column
    near = pc.and_(pc.greater(numbers, -limit), pc.less(numbers, limit))
    texts = pc.if_else(near, column, None).cast(pa.string())
    years = pc.add(pc.divide(numbers, 31_556_952 * per_second), 1970)
    far = pc.binary_join_element_wise(pc.cast(years, pa.string()), "01-01", "-")
    return pc.if_else(near, texts, far)


def _numbers(rows: int, unreadable: Sequence[UnreadableRow]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the numbers of the readable rows, between those of the unreadable rows."""
    taken = [row.number for row in unreadable]
    return np.setdiff1d(np.arange(1, rows + len(taken) + 1), taken)[:rows]


def _unreadable_rows(schema: pa.Schema, unreadable: Sequence[UnreadableRow]) -> pa.Table:
    texts = [unreadable_json(row.reason, row.text) for row in unreadable]
    values = {name: pa.nulls(len(texts), schema.field(name).type) for name in schema.names}
    return pa.table(values | {UNDECLARED: texts, ROW: [row.number for row in unreadable]}, schema=schema)


def _json_rows(
    source: Source, open_file: OpenFile, item: Delivery, limit: int | None, unreadable: list[UnreadableRow]
) -> pa.Table:
    keys = [source.delivered_name(name) for name in source.columns]
    required = {source.delivered_name(name) for name, column in source.columns.items() if column.required}
    seen: set[str] = set()
    schema = pa.schema([*((name, pa.string()) for name in [*source.columns, UNDECLARED]), (ROW, pa.int64())])
    tables = [schema.empty_table()]
    objects = islice(json_objects(open_file, files_of(source), unreadable), limit)
    while batch := list(islice(objects, _JSON_BATCH_ROWS)):
        rows = []
        for number, content, line in batch:
            seen.update(content)
            texts, undeclared = json_texts(content, line, keys)
            rows.append((*texts, undeclared, number))
        tables.append(pa.table(list(zip(*rows, strict=True)), schema=schema))
    found = pa.concat_tables(tables)
    if len(found) and limit is None:
        # A line may omit a key without a value, but a key that was renamed is missing from every line.
        for key in sorted(set(keys) - seen):
            if key in required or similar_names(key, seen - set(keys)):
                raise missing_column(key, item.file.uri, source, seen)
    return found


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
