"""Bronze: every delivered row, as text, with where it came from. Nothing is judged here and nothing is lost."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from include.days import DayRange
from include.lake import Lake
from include.logs import get_logger
from include.projects import Project, Source
from include.results import StepResult
from include.sources.columns import FILE, ROW, UNDECLARED
from include.sources.errors import NoRowsError
from include.sources.files import Deliveries, find_deliveries
from include.sources.origins import Origins
from include.sources.read_files import read_files

__all__ = ["DELIVERIES", "FILE", "ROW", "UNDECLARED", "audit_sources", "delivered_days", "load_bronze"]

log = get_logger(__name__)

DELIVERIES = "bronze/_deliveries"
"""The table of loaded deliveries, with their bytes and rows: a day without rows was loaded too."""

_DELIVERIES_SCHEMA = pa.schema(
    [
        ("dt", pa.date32()),
        ("source", pa.string()),
        ("file", pa.string()),
        ("bytes", pa.int64()),
        ("rows", pa.int64()),
    ]
)


@dataclass(frozen=True)
class _Loaded:
    """One delivery in bronze: a row of the table of deliveries."""

    dt: dt.date
    source: str
    file: str
    bytes: int | None
    rows: int


def audit_sources(project: Project, origins: Origins, days: DayRange) -> dict[str, dict[str, object]]:
    """Open every file of ``days`` without loading it, and return per source: files, bytes and undeclared columns.

    Raises:
        ChurnflowError: A file is missing, empty, corrupt or lacks a declared column; nothing was written.
    """
    report: dict[str, dict[str, object]] = {}
    for name, source in project.sources.items():
        found = find_deliveries(name, source, origins, days).items
        undeclared = sorted({column for delivery in found for column in delivery.undeclared})
        if undeclared:
            log.warning("undeclared columns", extra={"source": name, "columns": undeclared})
        report[name] = {
            "files": len(found),
            "bytes": sum(delivery.file.size for delivery in found),
            "undeclared_columns": undeclared,
        }
    return report


def load_bronze(project: Project, lake: Lake, origins: Origins, days: DayRange) -> list[StepResult]:
    """Replace the bronze partitions of ``days`` by what was delivered for them, source by source.

    Raises:
        ChurnflowError: A delivery cannot be read, or has no rows where there must be some; the sources before it are
            loaded, its own table is as it was.
    """
    found = {name: find_deliveries(name, source, origins, days) for name, source in project.sources.items()}
    results, loaded = [], []
    for name, source in project.sources.items():
        result, deliveries = _load_files(name, source, lake, found[name], days)
        log.info("bronze loaded", extra=result.as_dict())
        results.append(result)
        loaded += deliveries
    rows = pa.Table.from_pylist([vars(item) for item in loaded], schema=_DELIVERIES_SCHEMA)
    lake.table(DELIVERIES).replace(days, rows)
    return results


def delivered_days(lake: Lake, source: str, days: DayRange) -> set[dt.date]:
    """Return the days of ``days`` whose delivery of ``source`` was loaded, also when it held no row."""
    table = lake.table(DELIVERIES)
    if not table.exists():
        return set()
    rows = table.read(days, ["dt", "source"]).to_pylist()
    return {row["dt"] for row in rows if row["source"] == source}


def _load_files(
    name: str, source: Source, lake: Lake, deliveries: Deliveries, days: DayRange
) -> tuple[StepResult, list[_Loaded]]:
    start = time.perf_counter()
    table = lake.table(f"bronze/{name}")
    rows = read_files(source, deliveries)
    counts = {item["values"]: item["counts"] for item in pc.value_counts(rows["dt"]).to_pylist()}
    loaded = [
        _Loaded(item.day, name, item.file.name, item.file.size, counts.get(item.day, 0)) for item in deliveries.items
    ]
    _require_rows(source, loaded, {item.day: item.file.uri for item in deliveries.items})
    version = table.replace(days, rows)
    return _result(name, rows.num_rows, version, start), loaded


def _require_rows(source: Source, loaded: Sequence[_Loaded], where: dict[dt.date, str]) -> None:
    empty = [item for item in loaded if not item.rows]
    if empty and not source.allow_no_rows:
        raise NoRowsError(
            "The delivery has no rows.",
            where=where[empty[0].dt],
            remedy=f"Ask {source.owner} for it again, or set allow_no_rows in sources.yaml when such days are normal.",
        )


def _result(name: str, rows: int, version: int, start: float) -> StepResult:
    return StepResult(f"bronze/{name}", rows, 0, rows, version, round(time.perf_counter() - start, 3))
