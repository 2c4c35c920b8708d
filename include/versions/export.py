"""Bronze as plain files: one Parquet file for each table and day, whose bytes depend on its rows alone.

Bronze holds every delivered row as text, whether it came from a file or a database, so it is the raw data of all
sources alike. Its own Delta files would not do: loading a day again, or compacting a table, gives other files of the
same rows. Here rows are put in order and written in one way, so the same rows are the same file.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import DELIVERIES_TABLE, bronze_table
from include.local_files import write_atomically
from include.logs import get_logger
from include.projects import Project
from include.sources.bronze_tables import FILE, ROW, bronze_schema

log = get_logger(__name__)

INDEX_FILE = "index.json"
_LAYOUT = 1  # part of the index: raised when rows are written in another way, so that every file is written again
_DAYS_AT_ONCE = 90


def export_bronze(project: Project, lake: Lake, through: dt.date, folder: Path) -> dict[str, int]:
    """Make ``folder`` hold exactly the bronze rows of the days up to ``through``, and return the Delta versions read.

    Only days whose Delta files are not those of the last export are read; an index beside the folder remembers them. A
    crash costs no more than exporting some days again.

    Args:
        project: Its sources are exported, and the table of deliveries.
        lake: The lake.
        through: The last day.
        folder: Gets ``<table>/<day>.parquet``.
    """
    index_file = folder.parent / INDEX_FILE
    index: dict[str, str] = json.loads(index_file.read_text()) if index_file.is_file() else {}
    wanted: dict[str, str] = {}
    versions: dict[str, int] = {}
    for name in bronze_tables(project):
        if not lake.table(name).exists():
            continue
        versions[name] = lake.table(name).version()
        wanted |= _export_table(lake.at(versions), name, through, folder, index)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and str(path.relative_to(folder)) not in wanted:
            path.unlink()
    write_atomically(index_file, json.dumps(wanted).encode())
    return versions


def import_bronze(project: Project, folder: Path, lake: Lake) -> DayRange:
    """Fill the bronze of an empty lake with the files in ``folder``, and return the days that they span."""
    files = {name: sorted((folder / _stem(name)).glob("*.parquet")) for name in bronze_tables(project)}
    found = sorted(path.stem for paths in files.values() for path in paths)
    days = DayRange.parse(found[0], found[-1])
    for name, paths in files.items():
        rows = [pq.read_table(path) for path in paths]
        empty = [] if name == DELIVERIES_TABLE else [bronze_schema(project.sources[_stem(name)]).empty_table()]
        lake.table(name).replace(days, pa.concat_tables([*empty, *rows], promote_options="default"))
    return days


def bronze_tables(project: Project) -> list[str]:
    """Return the names of the project's bronze tables."""
    return [DELIVERIES_TABLE, *(bronze_table(name) for name in project.sources)]


def _export_table(lake: Lake, name: str, through: dt.date, folder: Path, index: dict[str, str]) -> dict[str, str]:
    table = lake.table(name)
    schema = table.read([]).schema
    keys = {day: _key(schema, uris) for day, uris in table.partitions().items() if day <= through}
    files = {day: f"{_stem(name)}/{day}.parquet" for day in keys}
    changed = sorted(day for day in keys if index.get(files[day]) != keys[day] or not (folder / files[day]).is_file())
    for start in range(0, len(changed), _DAYS_AT_ONCE):
        for day, rows in _by_day(table.read(changed[start : start + _DAYS_AT_ONCE])):
            # A new file takes the place of the old one, which DVC's cache may share.
            write_atomically(folder / files[day], _parquet(rows))
    log.info("bronze exported", extra={"table": name, "days": len(keys), "changed": len(changed)})
    return {files[day]: keys[day] for day in keys}


def _by_day(rows: pa.Table) -> Iterator[tuple[dt.date, pa.Table]]:
    inner = [FILE, ROW] if FILE in rows.column_names else [name for name in rows.column_names if name != "dt"]
    ordered = rows.sort_by([(name, "ascending") for name in ["dt", *inner]])
    start = 0
    for item in pc.value_counts(ordered["dt"]).to_pylist():
        yield item["values"], ordered.slice(start, item["counts"])
        start += item["counts"]


def _parquet(rows: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(rows.combine_chunks(), sink, compression="zstd", store_schema=False)
    return bytes(sink.getvalue())


def _key(schema: pa.Schema, uris: Sequence[str] | frozenset[str]) -> str:
    # Delta files never change, and their names are unique: the same names are the same rows.
    names = sorted(uri.rsplit("/", 1)[-1] for uri in uris)
    return hashlib.sha256(json.dumps([_LAYOUT, str(schema), names]).encode()).hexdigest()


def _stem(table: str) -> str:
    return table.rsplit("/", 1)[-1]
