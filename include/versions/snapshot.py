"""Making a version of the raw data that a training set comes from."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from include.lake import Lake
from include.logs import get_logger
from include.projects import Project
from include.training.data.data_version import DataVersion
from include.training.data.dataset import load_dataset, note_data_version
from include.versions.export import export_bronze
from include.versions.repository import Repository, VersionError

log = get_logger(__name__)


def snapshot(project: Project, lake: Lake, repository: Repository, through: dt.date) -> DataVersion:
    """Make a version of everything that was delivered for the days up to ``through``.

    The same raw data is the same revision, however often and in whichever order it was loaded. A crash, or two at the
    same time, leave every other version as it is.

    Raises:
        VersionError: Nothing was loaded by then, or DVC cannot store it.
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
    """Keep the raw data behind the data set in ``folder`` in the remote, and note its version in the manifest.

    It is taken after the data set was built: a day up to the data set's own that is loaded anew in between makes the
    two disagree, which a reproduction shows.

    Raises:
        DatasetError: The data set is damaged.
        VersionError: The version cannot be made or pushed; the manifest is as it was.
    """
    version = snapshot(project, lake, repository, load_dataset(folder).manifest.through)
    pushed = repository.push(version.revision)
    log.info("data version pushed", extra={"revision": version.revision, "files": pushed})
    note_data_version(folder, version)
    return version
