"""Make a backup of a deployment, which may run meanwhile."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from include.backup.contents import LAKE, MANIFEST, Manifest, backup_name, places, write_checksums
from include.backup.copies import copy_lake, copy_place
from include.backup.databases import databases
from include.backup.errors import BackupError
from include.lake import open_lake
from include.local_files import disk_full_errors
from include.logs import get_logger
from include.settings import Settings

log = get_logger(__name__)

_PARTIAL = ".partial"


@dataclass(frozen=True)
class Backup:
    """A complete backup.

    Attributes:
        folder: Its folder.
        manifest: What it contains.
        bytes: The size of its files.
    """

    folder: Path
    manifest: Manifest
    bytes: int


def create(settings: Settings, to: Path, at: dt.datetime) -> Backup:
    """Write a backup to a new folder below ``to``.

    The folder gets its name when the backup is complete. An interrupted backup leaves a hidden folder, which the next
    one removes.

    Args:
        settings: The deployment.
        to: The folder of backups, outside the backed up data, and best on another disk.
        at: The present time, with a time zone.

    Raises:
        BackupError: A backup to this folder is running, or the folder is part of the data, or a table cannot be copied.
        DatabaseError: A database cannot be dumped.
        DiskFullError: The disk is full.
    """
    to = to.absolute()
    if any(to.is_relative_to(place) for place in places(settings).values()):
        raise BackupError("The folder is part of the data.", where=str(to), remedy="Name a folder on another disk.")
    to.mkdir(parents=True, exist_ok=True)
    folder = to / backup_name(settings.project, at)
    if folder.exists():
        raise BackupError("The backup exists.", where=str(folder), remedy="Name another folder.")
    try:
        with FileLock(to / f".{settings.project}.lock", timeout=0), disk_full_errors(str(to)):
            for left in to.glob(f".{settings.project}-*{_PARTIAL}"):
                shutil.rmtree(left)
            partial = to / f".{folder.name}{_PARTIAL}"
            partial.mkdir(mode=0o700)
            manifest = _fill(partial, settings, at)
            size = write_checksums(partial)
            os.sync()
            partial.rename(folder)
    except Timeout as error:
        raise BackupError("Another backup is running.", where=str(to), remedy="Wait until it has ended.") from error
    log.info("backup made", extra={"folder": str(folder), "bytes": size, "tables": len(manifest.tables)})
    return Backup(folder, manifest, size)


def _fill(partial: Path, settings: Settings, at: dt.datetime) -> Manifest:
    # The databases name artifacts and Bentos, so they are older than the copies of these.
    dumped = databases(settings)
    for database in dumped:
        database.dump(partial)
    if "airflow" not in {database.name for database in dumped}:
        log.warning("backup without airflow's database", extra={"variable": "CHURN_BACKUP__AIRFLOW_DATABASE"})
    tables: dict[str, int] = {}
    for name, path in places(settings).items():
        if name == LAKE:
            tables = copy_lake(open_lake(settings), partial / LAKE)
        elif path.exists():
            copy_place(path, partial / name)
    manifest = Manifest(
        project=settings.project,
        created=at,
        tables=tables,
        places=tuple(name for name in places(settings) if (partial / name).exists()),
        databases=tuple(database.name for database in dumped),
    )
    (partial / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return manifest
