"""The contents of a backup: the places of one project's data, and the folder with its manifest and checksums."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from include.backup.errors import BackupError, DamagedBackupError
from include.local_files import file_checksum
from include.privacy.proof import privacy_folder
from include.serving.prediction_log.segments import spool_folder
from include.settings import Settings, require_project

MANIFEST, CHECKSUMS = "manifest.json", "SHA256SUMS"
LAKE = "lake"
_DAMAGED = "Restore another backup. The deployment was not changed."


class Manifest(BaseModel):
    """What a backup contains.

    Attributes:
        format: The version of the layout of the folder.
        project: The project.
        created: The time at which the backup began.
        tables: The Delta version of each table.
        places: The names of the places with data.
        databases: The names of the dumped databases.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    project: str
    created: AwareDatetime
    tables: dict[str, int]
    places: tuple[str, ...]
    databases: tuple[str, ...]


def places(settings: Settings) -> dict[str, Path]:
    """Return the folders and files of the project's data by name, in the order in which they are copied.

    References are copied before the files that they name, and segments of the prediction log in the direction in which
    they move, so that a backup beside running writes is complete. Data in object stores and in Redis is left out, and
    landing files outside the home folder, which other systems own.

    Args:
        settings: The deployment.
    """
    home, project = settings.home, settings.project
    landing = Path(settings.landing_uri) / project
    remote = settings.versions.remote or str(home / "versions" / "remote")
    log = settings.serving.log.uri or str(home / "prediction_log" / project)
    found = {
        "mlflow_database": _sqlite_file(settings),
        LAKE: _local(f"{settings.lake_uri}/{project}"),
        "serving": settings.serving_dir,
        "online_store": home / "online_store" / project if settings.serving.store.backend == "embedded" else None,
        "prediction_log_spool": spool_folder(settings),
        "prediction_log": _local(log),
        "training": home / "training" / project,
        "versions": home / "versions" / project,
        "versions_remote": _local(f"{remote.rstrip('/')}/{project}"),
        "mlflow": home / "mlflow",
        "reports": settings.reports_dir,
        "lineage": settings.lineage_dir,
        "privacy": privacy_folder(settings),
        "landing": landing if landing.is_relative_to(home) else None,
        "drills": home / "drills",
    }
    return {name: path for name, path in found.items() if path}


def read_backup(folder: Path, project: str) -> Manifest:
    """Return the manifest of a backup, after a check of all its files.

    Args:
        folder: The folder of the backup.
        project: The configured project.

    Raises:
        BackupError: The folder is not a backup, or is of a later version of the product.
        DamagedBackupError: A file is missing, additional or damaged.
        ProjectMismatchError: The backup is of another project.
    """
    expected = _checksums(folder)
    present = set(files_below(folder)) - {CHECKSUMS}
    if present != expected.keys():
        name = min(present ^ expected.keys())
        state = "is missing" if name in expected else "does not belong to the backup"
        raise DamagedBackupError(f"A file {state}.", where=str(folder / name), remedy=_DAMAGED)
    for name, checksum in expected.items():
        if file_checksum(folder / name) != checksum:
            raise DamagedBackupError("The file is damaged.", where=str(folder / name), remedy=_DAMAGED)
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError) as error:
        raise BackupError(
            "The backup has no manifest of this version.",
            where=str(folder / MANIFEST),
            remedy="Restore it with the version of the product that wrote it.",
        ) from error
    require_project(manifest.project, project, what="The backup", where=folder)
    return manifest


def write_checksums(folder: Path) -> int:
    """Write the checksums of all files, which ``sha256sum -c`` can read, and return the number of bytes.

    Args:
        folder: The folder of the backup.
    """
    names = files_below(folder)
    lines = [f"{file_checksum(folder / name)}  {name}\n" for name in names]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")
    return sum((folder / name).stat().st_size for name in names)


def files_below(folder: Path) -> list[str]:
    """Return the paths of all files below a folder, relative to it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def backup_name(project: str, at: dt.datetime) -> str:
    """Return the name of the folder of a backup."""
    return f"{project}-{at.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}"


def _checksums(folder: Path) -> dict[str, str]:
    path = folder / CHECKSUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DamagedBackupError("The file is damaged.", where=str(path), remedy=_DAMAGED) from error
    except OSError as error:
        raise BackupError(
            "The folder is not a backup.", where=str(folder), remedy="Name a folder that `create` has written."
        ) from error
    return {name: checksum for checksum, _, name in (line.partition("  ") for line in lines)}


def _local(uri: str) -> Path | None:
    return None if "://" in uri else Path(uri)


def _sqlite_file(settings: Settings) -> Path | None:
    scheme, _, path = settings.mlflow.tracking_uri.partition(":///")
    return Path(path) if scheme == "sqlite" else None
