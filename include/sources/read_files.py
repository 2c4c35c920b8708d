"""Read delivered files of every format into bronze rows: all values as text."""
# ruff: noqa: S608 - _name, _quote and _path quote every name, path and value in these statements

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import duckdb
import pyarrow as pa

from include.errors import ChurnflowError
from include.projects import Source
from include.sources.bronze_tables import FILE, ROW, UNDECLARED, bronze_schema
from include.sources.delivered_files import Deliveries, Delivery, corrupt, files_of, missing_column
from include.sources.errors import TooLargeError
from include.sources.storage import DailyFiles, no_access

_PATH, _NUMBER, _JSON = "_churnflow_path", "_churnflow_number", "_churnflow_json"
"""Names of helper columns; no delivered column has such a name."""


def read_files(source: Source, deliveries: Deliveries) -> pa.Table:
    """Return all rows of ``deliveries`` as bronze rows.

    Args:
        source: The configuration of the source.
        deliveries: Its deliveries.

    Raises:
        CorruptFileError: A file cannot be parsed in its format.
        ColumnError: No line of a JSON-lines file has a required column.
        UnreadableFileError: The object store does not answer.
        TooLargeError: The files do not fit into memory.
    """
    return _read(source, deliveries, None)


def sample_files(source: Source, deliveries: Deliveries, rows: int) -> pa.Table:
    """Return at most ``rows`` rows of ``deliveries`` as bronze rows, from the newest files first.

    Args:
        source: The configuration of the source.
        deliveries: Its deliveries.
        rows: Maximum number of rows.

    Raises:
        CorruptFileError: A file cannot be parsed in its format.
        UnreadableFileError: The object store does not answer.
        TooLargeError: The files do not fit into memory.
    """
    newest_first = replace(deliveries, items=tuple(reversed(deliveries.items)))
    return _read(source, newest_first, rows).slice(0, rows)


def _read(source: Source, deliveries: Deliveries, limit: int | None) -> pa.Table:
    schema = bronze_schema(source)
    tables = [_read_group(source, deliveries.storage, group, limit) for group in _groups(source, deliveries)]
    return pa.concat_tables([schema.empty_table(), *(table.cast(schema) for table in tables)])


def _groups(source: Source, deliveries: Deliveries) -> list[list[Delivery]]:
    # Files with the same columns in the same order are read together; the order is irrelevant for JSON lines.
    if files_of(source).format == "jsonl":
        return [list(deliveries.items)] if deliveries.items else []
    groups: dict[tuple[str, ...], list[Delivery]] = {}
    for item in deliveries.items:
        groups.setdefault(tuple(item.columns), []).append(item)
    return list(groups.values())


def _read_group(source: Source, storage: DailyFiles, deliveries: Sequence[Delivery], limit: int | None) -> pa.Table:
    connection = duckdb.connect()  # keeps insertion order, from which the row numbers are computed
    if not storage.is_local:
        connection.register_filesystem(storage.filesystem)
    try:
        return _rows(connection, source, deliveries, limit)
    except duckdb.Error as error:
        raise _explain(error, source, storage, deliveries) from error
    finally:
        connection.close()


def _rows(
    connection: duckdb.DuckDBPyConnection, source: Source, deliveries: Sequence[Delivery], limit: int | None
) -> pa.Table:
    days = pa.table({_PATH: [item.file.uri for item in deliveries], "dt": [item.day for item in deliveries]})
    connection.register("deliveries", days)
    connection.execute(
        f"CREATE TEMP TABLE raw AS SELECT *, row_number() OVER () AS {_NUMBER} FROM {_scan(source, deliveries)}"
        + ("" if limit is None else f" LIMIT {limit}")
    )
    if files_of(source).format == "jsonl":
        _require_json_objects(connection, source)
        if limit is None:
            _require_json_columns(connection, source)
        columns = _json_columns(source)
    else:
        columns = _table_columns(source, deliveries[0])
    return connection.sql(
        f"SELECT {columns}, parse_filename({_PATH}) AS {FILE},"
        f" {_NUMBER} - min({_NUMBER}) OVER (PARTITION BY {_PATH}) + 1 AS {ROW}, deliveries.dt"
        f" FROM raw JOIN deliveries USING ({_PATH})"
    ).to_arrow_table()


def _scan(source: Source, deliveries: Sequence[Delivery]) -> str:
    paths = "[" + ", ".join(_quote(item.file.uri) for item in deliveries) + "]"
    match files_of(source).format:
        case "parquet":
            return f"read_parquet({paths}, filename = '{_PATH}', union_by_name = true)"
        case "jsonl":
            return f"(SELECT json AS {_JSON}, {_PATH} FROM read_ndjson_objects({paths}, filename = '{_PATH}'))"
        case "csv":
            # Detection is off, since DuckDB could otherwise read a damaged file as another CSV dialect.
            columns = ", ".join(f"{_quote(column)}: 'VARCHAR'" for column in deliveries[0].columns)
            return (
                f"read_csv({paths}, auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"',"
                f" columns = {{{columns}}}, filename = '{_PATH}')"
            )


def _table_columns(source: Source, delivery: Delivery) -> str:
    declared = [f"CAST(raw.{_name(column)} AS VARCHAR) AS {_name(column)}" for column in source.columns]
    packed = ", ".join(f"{_name(column)} := raw.{_name(column)}" for column in delivery.undeclared)
    extra = f"CAST(to_json(struct_pack({packed})) AS VARCHAR)" if packed else "CAST(NULL AS VARCHAR)"
    return ", ".join([*declared, f"{extra} AS {UNDECLARED}"])


def _json_columns(source: Source) -> str:
    # A string becomes its text, and a nested value becomes its JSON text. A merge patch with nulls removes the declared
    # columns.
    declared = [f"{_JSON} ->> {_path(column)} AS {_name(column)}" for column in source.columns]
    patch = _quote(json.dumps(dict.fromkeys(source.columns)))
    extra = f"nullif(CAST(json_merge_patch({_JSON}, {patch}) AS VARCHAR), '{{}}')"
    return ", ".join([*declared, f"{extra} AS {UNDECLARED}"])


def _require_json_objects(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    strange = connection.execute(f"SELECT {_PATH} FROM raw WHERE json_type({_JSON}) <> 'OBJECT' LIMIT 1").fetchone()
    if strange:
        raise corrupt(strange[0], source, ": a line is not an object")


def _require_json_columns(connection: duckdb.DuckDBPyConnection, source: Source) -> None:
    for column in (name for name, declared in source.columns.items() if declared.required):
        having = f"SELECT {_PATH} FROM raw GROUP BY {_PATH} HAVING NOT bool_or(json_exists({_JSON}, {_path(column)}))"
        lacking = connection.execute(f"{having} ORDER BY {_PATH} LIMIT 1").fetchone()
        if lacking:
            raise missing_column(column, lacking[0], source)


def _explain(
    error: duckdb.Error, source: Source, storage: DailyFiles, deliveries: Sequence[Delivery]
) -> ChurnflowError:
    where = _damaged_file(str(error), storage, deliveries)
    if isinstance(error, duckdb.OutOfMemoryException):
        return TooLargeError(
            "The files do not fit into memory.", where=storage.address, remedy="Load fewer days at a time."
        )
    if isinstance(error, duckdb.IOException) and not storage.is_local:
        return no_access(where, error)
    return corrupt(where, source)


def _damaged_file(message: str, storage: DailyFiles, deliveries: Sequence[Delivery]) -> str:
    named = [item.file.uri for item in deliveries if item.file.uri in message]
    if named or len(deliveries) == 1:
        return named[0] if named else deliveries[0].file.uri
    return f"one of {len(deliveries)} files of {storage.address}"


def _path(column: str) -> str:
    return _quote('$."' + column.replace('"', '\\"') + '"')


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
