"""Restore a deployment from a backup, while none of its processes runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from include.backup.contents import Manifest, places, read_backup
from include.backup.copies import remove
from include.backup.databases import Database, databases
from include.backup.errors import BackupError, DatabaseError, NotEmptyError
from include.local_files import disk_full_errors, write_atomically
from include.logs import get_logger
from include.settings import Settings

log = get_logger(__name__)


def restore(settings: Settings, source: Path, *, replace: bool = False) -> Manifest:
    """Replace the data of a deployment by that of a backup, and return the manifest of the backup.

    All data is first written beside the present data, so that an error or a kill leaves the present data unchanged.
    Then a marker is written, and everything is renamed. After a kill between these, all commands refuse to run until
    the restore has been repeated.

    Args:
        settings: The deployment.
        source: The folder of the backup.
        replace: Whether present data may be replaced.

    Raises:
        BackupError: The folder is not a backup of this version.
        DamagedBackupError: A file of the backup is damaged; nothing was written.
        ProjectMismatchError: The backup is of another project; nothing was written.
        NotEmptyError: There is data, and ``replace`` is false; nothing was written.
        DatabaseError: A database of the backup is not configured, is in use, or cannot be loaded.
        DiskFullError: The disk is full; the present data is unchanged.
    """
    manifest = read_backup(source, settings.project)
    targets, loaded, marker = _places(settings, manifest), _databases(settings, manifest), settings.unfinished_restore
    for database in loaded:
        database.require_unused()
    if not (replace or marker.exists()):
        _require_empty(targets, loaded)
    with disk_full_errors(str(settings.home)):
        for name in manifest.places:
            remove(_beside(targets[name], "restored"))
            _copy(source / name, _beside(targets[name], "restored"))
        for database in loaded:
            database.load(source)
        os.sync()
        write_atomically(marker, f"{source.absolute()}\n")
    for name, target in targets.items():
        _swap(target, present=name in manifest.places)
    for database in loaded:
        database.replace()
    for target in targets.values():
        remove(_beside(target, "replaced"))
    os.sync()
    marker.unlink()
    log.info("backup restored", extra={"folder": str(source), "tables": len(manifest.tables)})
    return manifest


def _places(settings: Settings, manifest: Manifest) -> dict[str, Path]:
    found = places(settings)
    if missing := set(manifest.places) - found.keys():
        raise BackupError(
            f"The backup contains {', '.join(sorted(missing))}, but the settings name no folder for it.",
            where="CHURN_*",
            remedy="Use the settings of the deployment that was backed up.",
        )
    return found


def _databases(settings: Settings, manifest: Manifest) -> list[Database]:
    configured = {database.name: database for database in databases(settings)}
    if missing := set(manifest.databases) - configured.keys():
        name = min(missing)
        raise DatabaseError(
            f"The backup contains the database of {name}, but the variable is not set.",
            where=f"CHURN_BACKUP__{name.upper()}_DATABASE",
            remedy="Set the variable to the database to restore, which need not exist.",
        )
    return [configured[name] for name in manifest.databases]


def _require_empty(targets: dict[str, Path], loaded: list[Database]) -> None:
    full = [str(path) for path in targets.values() if path.is_file() or (path.is_dir() and any(path.iterdir()))]
    full += [f"database {database.database}" for database in loaded if database.tables()]
    if full:
        raise NotEmptyError(
            "The deployment contains data.",
            where=", ".join(full),
            remedy="Add --replace to replace it by the backup, or make a backup of it first.",
        )


def _copy(source: Path, to: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, to)
    else:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, to)


def _swap(target: Path, *, present: bool) -> None:
    old = _beside(target, "replaced")
    if old.exists():  # an interrupted restore has moved the data away
        remove(target)
    elif target.exists():
        target.rename(old)
    remove(target)  # the journals of a database file
    if present:
        target.parent.mkdir(parents=True, exist_ok=True)
        _beside(target, "restored").rename(target)


def _beside(path: Path, state: str) -> Path:
    return path.with_name(f".{path.name}.{state}")
