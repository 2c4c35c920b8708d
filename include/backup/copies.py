"""Consistent copies of the data of a running deployment: Delta tables, SQLite and LMDB files, and plain files."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import lmdb
from deltalake import DeltaTable
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from include.backup.errors import BackupError
from include.lake import Lake

_LOG_FILE = re.compile(r"(\d{20})\.")
_SQLITE = b"SQLite format 3\0"
_JOURNALS = ("-journal", "-wal", "-shm")
_PROCESS_STATE = ("lock.mdb", ".dvc/tmp")
"""The parts of paths that contain the state of running processes, which must not be restored."""
_LAYERS = ("monitoring", "gold", "quarantine", "silver", "bronze", "privacy")
"""The data flow backwards: a copied table never has days that the copies of its inputs do not have."""


@retry(retry=retry_if_exception_type(FileNotFoundError), stop=stop_after_attempt(5), reraise=True)
def copy_lake(lake: Lake, to: Path) -> dict[str, int]:
    """Copy each table at its current version, and return the versions by table.

    Writes at the same time do not change the copy. Only an erasure deletes files of a current version; then all tables
    are copied again.

    Args:
        lake: A lake in a folder.
        to: The new lake; an earlier attempt is replaced.

    Raises:
        FileNotFoundError: Files of a version were deleted again and again.
        BackupError: A copied table is not complete.
    """
    shutil.rmtree(to, ignore_errors=True)
    tables = {name: DeltaTable(lake.table(name).uri) for name in sorted(lake.table_names(), key=_backwards)}
    for name, table in tables.items():
        source, target, version = Path(lake.uri) / name, to / name, table.version()
        log = [path.name for path in (source / "_delta_log").iterdir() if _version_of(path.name) <= version]
        for path in [*(f"_delta_log/{file}" for file in log), *_files(table)]:
            _copy(source / path, target / path)
        copied = DeltaTable(str(target))
        if (copied.version(), _files(copied)) != (version, _files(table)):
            raise BackupError(
                f"The copy of table {name} differs from version {version}.",
                where=str(source),
                remedy="Make another backup while no run is active.",
            )
    return {name: table.version() for name, table in tables.items()}


def copy_place(source: Path, to: Path) -> None:
    """Copy a file or a folder with times and permissions; a file that is deleted meanwhile is left out.

    Args:
        source: The file or the folder.
        to: The copy, which does not exist.
    """
    if source.is_file():
        _copy_file(source, to)
        return
    for folder, _, names in os.walk(source):
        here = Path(folder).relative_to(source)
        for name in names:
            if not any(part in str(here / name) for part in _PROCESS_STATE):
                with suppress(FileNotFoundError):
                    _copy_file(Path(folder) / name, to / here / name)
    for path in [to, *to.rglob("*")] if to.exists() else ():
        if path.is_dir():
            with suppress(FileNotFoundError):
                shutil.copystat(source / path.relative_to(to), path)


def _copy_file(source: Path, to: Path) -> None:
    if source.name.endswith(tuple(f".db{suffix}" for suffix in _JOURNALS)):
        return  # the copy of the database contains the committed changes
    if source.suffix == ".db" and _starts_with(source, _SQLITE):
        to.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(source)) as database, closing(sqlite3.connect(to)) as copy:
            database.backup(copy)
        shutil.copystat(source, to)
    elif source.name == "data.mdb":
        to.parent.mkdir(parents=True, exist_ok=True)
        with lmdb.open(str(source.parent), readonly=True) as environment:
            environment.copy(str(to.parent))
        shutil.copystat(source, to)
    else:
        _copy(source, to)


def _copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, to)


def _starts_with(path: Path, head: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(head)) == head


def _files(table: DeltaTable) -> list[str]:
    # Each file is in the folder of its day.
    return sorted("/".join(uri.rsplit("/", 2)[1:]) for uri in table.file_uris())


def _version_of(name: str) -> float:
    found = _LOG_FILE.match(name)
    # `_last_checkpoint` may name a checkpoint of a later version, and is not needed.
    return int(found[1]) if found else float("inf")


def _backwards(name: str) -> tuple[int, bool, str]:
    layer, _, table = name.partition("/")
    # Days are recorded after their rows, so the records are copied before the rows.
    return _LAYERS.index(layer) if layer in _LAYERS else -1, not table.startswith("_"), name


def remove(path: Path) -> None:
    """Remove a file or a folder, if it exists.

    Args:
        path: The file or the folder.
    """
    if path.is_dir():
        shutil.rmtree(path)
    else:
        for suffix in ("", *_JOURNALS):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
