"""Bronze: every delivered row, as text, with where it came from. Nothing is judged here and nothing is lost."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from include.days import DayRange
from include.lake import Lake
from include.logs import get_logger
from include.projects import Project, Source
from include.results import StepResult
from include.sources.landing import Delivery, find_deliveries, unreadable

log = get_logger(__name__)

FILE, ROW, UNDECLARED = "_file", "_row", "_undeclared"
"""Bronze's own columns: the file, the row's number in it from 1, and undeclared columns as JSON text."""

DELIVERIES = "bronze/_deliveries"
"""The table of loaded files: a day without rows was loaded too."""


def audit_sources(project: Project, landing: Path, days: DayRange) -> dict[str, dict[str, object]]:
    """Open every file of ``days`` without loading it, and return per source: files, bytes and undeclared columns.

    Raises:
        ChurnflowError: A file is missing, empty, corrupt or lacks a declared column; nothing was written.
    """
    report: dict[str, dict[str, object]] = {}
    for name, source in project.sources.items():
        found = find_deliveries(name, source, landing, days)
        undeclared = sorted({column for delivery in found for column in delivery.undeclared})
        if undeclared:
            log.warning("undeclared columns", extra={"source": name, "columns": undeclared})
        report[name] = {
            "files": len(found),
            "bytes": sum(delivery.size for delivery in found),
            "undeclared_columns": undeclared,
        }
    return report


def load_bronze(project: Project, lake: Lake, landing: Path, days: DayRange) -> list[StepResult]:
    """Replace the bronze partitions of ``days`` by what was delivered for them, source by source.

    Raises:
        ChurnflowError: A file cannot be read; the sources before it are loaded, its own table is as it was.
    """
    found = {name: find_deliveries(name, source, landing, days) for name, source in project.sources.items()}
    results = [_load_source(name, project.sources[name], lake, found[name], days) for name in found]
    lake.table(DELIVERIES).replace(days, _delivery_rows([item for items in found.values() for item in items]))
    return results


def delivered_days(lake: Lake, source: str, days: DayRange) -> set[dt.date]:
    """Return the days of ``days`` whose file of ``source`` was loaded, also when it held no row."""
    table = lake.table(DELIVERIES)
    if not table.exists():
        return set()
    rows = table.read(days, ["dt", "source"]).to_pylist()
    return {row["dt"] for row in rows if row["source"] == source}


def _delivery_rows(deliveries: Sequence[Delivery]) -> pa.Table:
    return pa.table(
        {
            "dt": pa.array([item.day for item in deliveries], pa.date32()),
            "source": pa.array([item.source for item in deliveries], pa.string()),
            "file": pa.array([item.path.name for item in deliveries], pa.string()),
            "bytes": pa.array([item.size for item in deliveries], pa.int64()),
        }
    )


def _load_source(name: str, source: Source, lake: Lake, deliveries: Sequence[Delivery], days: DayRange) -> StepResult:
    start = time.perf_counter()
    table = lake.table(f"bronze/{name}")
    rows = _read(source, deliveries) if deliveries else _schema(source).empty_table()
    version = table.replace(days, rows)
    result = StepResult(table.name, rows.num_rows, 0, rows.num_rows, version, round(time.perf_counter() - start, 3))
    log.info("bronze loaded", extra=result.as_dict())
    return result


def _schema(source: Source) -> pa.Schema:
    text = [pa.field(name, pa.string()) for name in [*source.columns, UNDECLARED, FILE]]
    return pa.schema([*text, pa.field(ROW, pa.int64()), pa.field("dt", pa.date32())])


def _read(source: Source, deliveries: Sequence[Delivery]) -> pa.Table:
    # Files with the same columns in the same order are read together; each group only once.
    groups: dict[tuple[str, ...], list[Delivery]] = {}
    for item in deliveries:
        groups.setdefault(item.columns, []).append(item)
    return pa.concat_tables([_read_alike(source, group) for group in groups.values()])


def _read_alike(source: Source, deliveries: Sequence[Delivery]) -> pa.Table:
    # Insertion order is kept here: it numbers the rows of a CSV file.
    connection = duckdb.connect()
    days = pa.table({"path": [str(item.path) for item in deliveries], "dt": [item.day for item in deliveries]})
    connection.register("deliveries", days)
    declared = ", ".join(f"CAST({_name(column)} AS VARCHAR) AS {_name(column)}" for column in source.columns)
    undeclared = deliveries[0].undeclared
    packed = ", ".join(f"{_name(column)} := {_name(column)}" for column in undeclared)
    extra = f"CAST(to_json(struct_pack({packed})) AS VARCHAR)" if undeclared else "CAST(NULL AS VARCHAR)"
    try:
        connection.execute(f"CREATE TEMP TABLE raw AS {_scan(source, deliveries)}")
        rows = connection.sql(
            f"SELECT {declared}, {extra} AS {UNDECLARED}, parse_filename(filename) AS {FILE},"  # noqa: S608 - quoted
            f" _n - min(_n) OVER (PARTITION BY filename) + 1 AS {ROW}, deliveries.dt"
            " FROM raw JOIN deliveries ON raw.filename = deliveries.path"
        )
        return rows.to_arrow_table().cast(_schema(source))
    except duckdb.Error as error:
        raise unreadable(_culprit(str(error), deliveries), source, source.files.format) from error


def _scan(source: Source, deliveries: Sequence[Delivery]) -> str:
    paths = "[" + ", ".join(_quote(str(item.path)) for item in deliveries) + "]"
    if source.files.format == "parquet":
        scan = f"read_parquet({paths}, filename = true, union_by_name = true)"
    else:
        # Nothing is guessed: a sniffer would take a damaged file for one of another dialect.
        columns = ", ".join(f"{_quote(column)}: 'VARCHAR'" for column in deliveries[0].columns)
        scan = (
            f"read_csv({paths}, auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"',"
            f" columns = {{{columns}}}, filename = true)"
        )
    return f"SELECT *, row_number() OVER () AS _n FROM {scan}"  # noqa: S608 - paths and columns are quoted


def _culprit(message: str, deliveries: Sequence[Delivery]) -> str:
    named = [str(item.path) for item in deliveries if str(item.path) in message]
    if named or len(deliveries) == 1:
        return named[0] if named else str(deliveries[0].path)
    return f"one of {len(deliveries)} files in {deliveries[0].path.parent}"


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
