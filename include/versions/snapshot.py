"""Create a version of the raw data: export bronze to Parquet files with reproducible bytes, and add them to DVC.

Bronze holds every delivered row as text, from files and databases alike, so it is the raw data of all sources. The
files of its Delta tables do not serve as a version, since loading a day again or compacting a table rewrites them. The
export writes one file for each table and day with the rows in a fixed order, so that equal rows give equal files.
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
from include.lineage import RAW_VERSION, record_write
from include.local_files import write_atomically
from include.logs import get_logger
from include.projects import Project
from include.settings import require_project
from include.sources.bronze_tables import FILE, ROW, bronze_schema
from include.training.data.dataset import DataVersion, load_dataset, record_data_version
from include.versions.repository import Repository, VersionError

log = get_logger(__name__)

INDEX_FILE = "index.json"
_LAYOUT = 1  # part of the index keys; a new number makes the next export write every file again
_DAYS_AT_ONCE = 90


def create_version(project: Project, lake: Lake, repository: Repository, through: dt.date) -> DataVersion:
    """Create a version of all rows delivered for the days up to ``through``.

    Equal raw data gives the same revision; the number and order of the loads have no effect. A crash or a concurrent
    call does not affect other versions.

    Args:
        project: The project.
        lake: The lake.
        repository: The repository of versions.
        through: The last day.

    Raises:
        VersionError: No day up to ``through`` was loaded, or DVC cannot store a file.
    """
    with repository.locked():
        tables = export_bronze(project, lake, through, repository.raw)
        if not any(repository.raw.rglob("*.parquet")):
            raise VersionError(
                f"Nothing was loaded for the days up to {through}.",
                where=lake.uri,
                remedy="Run churn_ingest for some days first.",
            )
        version = repository.add(tables)
    log.info("data version made", extra={"version": version.model_dump()})
    return version


def version_dataset(project: Project, lake: Lake, repository: Repository, folder: Path) -> DataVersion:
    """Create and push the version of the raw data behind a data set, and record it in the manifest of the data set.

    The version contains the days that the labels of the data set depend on: the days up to ``lateness_days`` after its
    last day. It is created after the data set was built. If such a day is loaded in between, the version and the data
    set may differ; a reproduction detects the difference.

    Args:
        project: The project.
        lake: The lake.
        repository: The repository of versions.
        folder: The folder of the data set.

    Raises:
        DatasetError: The data set is damaged.
        ProjectMismatchError: The data set belongs to another project.
        VersionError: The version cannot be created or pushed; the manifest is unchanged.
    """
    manifest = load_dataset(folder).manifest
    require_project(manifest.project, project.name, what="The data set", where=folder)
    through = manifest.through + dt.timedelta(days=project.lateness_days)
    version = create_version(project, lake, repository, through)
    pushed = repository.push(version.revision)
    log.info("data version pushed", extra={"revision": version.revision, "files": pushed})
    record_data_version(folder, version)
    record_write(RAW_VERSION, version.remote, version.revision)
    return version


def export_bronze(project: Project, lake: Lake, through: dt.date, folder: Path) -> dict[str, int]:
    """Make ``folder`` contain exactly the bronze rows of the days up to ``through``.

    An index beside the folder records the Delta files of each exported day, so that only changed days are read. After a
    crash, the days of the interrupted call are exported again.

    Args:
        project: The project; its bronze tables and the table of deliveries are exported.
        lake: The lake.
        through: The last day.
        folder: The target folder, which gets ``<table>/<day>.parquet``.

    Returns:
        The Delta version of each exported table.
    """
    index_file = folder.parent / INDEX_FILE
    index: dict[str, str] = json.loads(index_file.read_text()) if index_file.is_file() else {}
    wanted: dict[str, str] = {}
    versions: dict[str, int] = {}
    for name in _bronze_tables(project):
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
    """Load exported files into the bronze tables of an empty lake.

    Args:
        project: The project.
        folder: The folder of an export.
        lake: The empty lake.

    Returns:
        The range of days that the files cover.
    """
    files = {name: sorted((folder / _stem(name)).glob("*.parquet")) for name in _bronze_tables(project)}
    found = sorted(path.stem for paths in files.values() for path in paths)
    days = DayRange.parse(found[0], found[-1])
    for name, paths in files.items():
        rows = [pq.read_table(path) for path in paths]
        empty = [] if name == DELIVERIES_TABLE else [bronze_schema(project.sources[_stem(name)]).empty_table()]
        lake.table(name).replace(days, pa.concat_tables([*empty, *rows], promote_options="default"))
    return days


def _bronze_tables(project: Project) -> list[str]:
    return [DELIVERIES_TABLE, *(bronze_table(name) for name in project.sources)]


def _export_table(lake: Lake, name: str, through: dt.date, folder: Path, index: dict[str, str]) -> dict[str, str]:
    table = lake.table(name)
    schema = table.read([]).schema
    keys = {day: _key(schema, uris) for day, uris in table.partitions().items() if day <= through}
    files = {day: f"{_stem(name)}/{day}.parquet" for day in keys}
    changed = sorted(day for day in keys if index.get(files[day]) != keys[day] or not (folder / files[day]).is_file())
    for start in range(0, len(changed), _DAYS_AT_ONCE):
        for day, rows in _by_day(table.read(changed[start : start + _DAYS_AT_ONCE])):
            # The file is replaced, not rewritten in place, since DVC's cache may share its blocks by a hard link.
            write_atomically(folder / files[day], parquet_content(rows))
    log.info("bronze exported", extra={"table": name, "days": len(keys), "changed": len(changed)})
    return {files[day]: keys[day] for day in keys}


def _by_day(rows: pa.Table) -> Iterator[tuple[dt.date, pa.Table]]:
    order = [FILE, ROW] if FILE in rows.column_names else [name for name in rows.column_names if name != "dt"]
    ordered = rows.sort_by([(name, "ascending") for name in ["dt", *order]])
    start = 0
    for item in pc.value_counts(ordered["dt"]).to_pylist():
        yield item["values"], ordered.slice(start, item["counts"])
        start += item["counts"]


def parquet_content(rows: pa.Table) -> bytes:
    """Return the content of an exported file, which is equal for equal rows."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows.combine_chunks(), sink, compression="zstd", store_schema=False)
    return bytes(sink.getvalue())


def _key(schema: pa.Schema, uris: Sequence[str] | frozenset[str]) -> str:
    # Delta files are immutable and their names are unique: equal names mean equal rows.
    names = sorted(uri.rsplit("/", 1)[-1] for uri in uris)
    return hashlib.sha256(json.dumps([_LAYOUT, str(schema), names]).encode()).hexdigest()


def _stem(table: str) -> str:
    return table.rsplit("/", 1)[-1]
