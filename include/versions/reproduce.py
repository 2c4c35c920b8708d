"""Rebuild the data set of an MLflow run, and compare it with the recorded data set.

``raw`` pulls the recorded version of the raw data and builds bronze, silver, gold and labels in an empty folder; it
does not use the lake. ``delta`` reads gold at the recorded Delta versions, which takes seconds and needs the lake to
have these versions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import mlflow
from mlflow.exceptions import MlflowException
from pydantic import ValidationError

from include.days import DayRange
from include.errors import ChurnflowError
from include.features.labels import build_labels
from include.ingest import refine
from include.lake import Lake, open_lake
from include.local_files import file_checksum
from include.plurals import counted
from include.projects import Project, ProjectError, load_project
from include.settings import Settings
from include.training.data.build import build_dataset
from include.training.data.dataset import (
    MANIFEST_FILE,
    PROJECT_FILE,
    DatasetManifest,
    DatasetPart,
    configuration_sha256,
    read_configuration,
)
from include.training.release.tracking import DATASET_ARTIFACT
from include.versions.repository import Repository, open_repository
from include.versions.snapshot import import_bronze

Method = Literal["raw", "delta"]
Report = Callable[[str], None]


class RecordError(ChurnflowError):
    """The data record of a run is missing or was changed."""


@dataclass(frozen=True)
class RecordedRun:
    """The data record of a training run.

    Attributes:
        run_id: The MLflow run.
        fingerprint: The fingerprint of the data set in the tag of the run.
        manifest: The manifest of the data set.
        project: The configuration with which it was built.
    """

    run_id: str
    fingerprint: str
    manifest: DatasetManifest
    project: Project

    @property
    def revision(self) -> str | None:
        """The version of the raw data; ``None`` if none was recorded."""
        return self.manifest.data_version.revision if self.manifest.data_version else None


@dataclass(frozen=True)
class Reproduction:
    """The outcome of a reproduction.

    Attributes:
        run: The MLflow run.
        revision: The recorded version of the raw data.
        agrees: Whether the rebuilt data set equals the recorded data set.
        fingerprint_recorded: The recorded fingerprint.
        fingerprint_rebuilt: The fingerprint of the rebuilt set.
        rows: Number of rows of the rebuilt set.
        path: ``raw`` or ``delta``.
        configuration_changed: Whether the project's current configuration differs from the recorded configuration, with
            which the data set is rebuilt.
        erased: Whether the rows of customers were erased from the version, so that the data sets differ.
    """

    run: str
    revision: str | None
    agrees: bool
    fingerprint_recorded: str
    fingerprint_rebuilt: str
    rows: int
    path: Method
    configuration_changed: bool
    erased: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as plain JSON types."""
        return asdict(self)


def reproduce(settings: Settings, run_id: str, method: Method, report: Report) -> Reproduction:
    """Rebuild the data set of a run, and compare it with the recorded data set.

    Args:
        settings: The tracking server, the remote and, for ``delta``, the lake. The run determines the project.
        run_id: The MLflow run of a training.
        method: ``raw`` or ``delta``.
        report: Called with a message before each step.

    Raises:
        RecordError: The run has no data record or, for ``raw``, no version of its raw data.
        VersionError: The remote does not have the revision, or a file of it is damaged.
        ChurnflowError: The data cannot be built with the recorded configuration.
    """
    report(f"Reading the data record of run {run_id} from {settings.mlflow.tracking_uri}.")
    recorded = load_recorded_run(settings, run_id)
    changed = _configuration_changed(recorded)
    if changed:
        report("The current configuration of the project differs; the recorded configuration is used.")
    own = settings.model_copy(update={"project": recorded.manifest.project})
    repository = open_repository(own)
    erased = (
        method == "raw" and recorded.revision is not None and repository.current(recorded.revision) != recorded.revision
    )
    with tempfile.TemporaryDirectory(prefix="churn-reproduce-") as scratch:
        if method == "raw":
            rebuilt = _from_raw(recorded, repository, Path(scratch), report)
        else:
            rebuilt = _from_delta(recorded, open_lake(own), Path(scratch), report)
    fingerprints = {recorded.fingerprint, recorded.manifest.fingerprint, rebuilt.fingerprint}
    agrees = len(fingerprints) == 1
    report(_verdict(recorded, rebuilt, agrees))
    if erased:
        report("Customers were erased from the raw data after the training, so a difference is expected.")
    return Reproduction(
        run=run_id,
        revision=recorded.revision,
        agrees=agrees,
        fingerprint_recorded=recorded.fingerprint,
        fingerprint_rebuilt=rebuilt.fingerprint,
        rows=sum(part.rows for part in rebuilt.parts.values()),
        path=method,
        configuration_changed=changed,
        erased=erased,
    )


def load_recorded_run(settings: Settings, run_id: str) -> RecordedRun:
    """Load the data record of a run from the tracking server.

    Args:
        settings: The tracking server.
        run_id: The MLflow run.

    Raises:
        RecordError: The run does not exist, has no data set, or its records contradict each other.
        ConfigurationError: This version of the code cannot read its configuration.
    """
    client = mlflow.MlflowClient(settings.mlflow.tracking_uri)
    with tempfile.TemporaryDirectory(prefix="churn-record-") as scratch:
        try:
            tags = client.get_run(run_id).data.tags
            folder = Path(client.download_artifacts(run_id, DATASET_ARTIFACT, scratch))
            manifest = DatasetManifest.model_validate_json((folder / MANIFEST_FILE).read_bytes())
        except (MlflowException, OSError, ValidationError) as error:
            raise _invalid_record(run_id, settings, "It does not exist, or it recorded no data set.") from error
        configuration = folder / PROJECT_FILE
        if not configuration.is_file() or file_checksum(configuration) != manifest.configuration_sha256:
            raise _invalid_record(run_id, settings, "Its configuration was removed or changed.")
        if tags.get("dvc.revision") != (manifest.data_version.revision if manifest.data_version else None):
            raise _invalid_record(run_id, settings, "Its tag dvc.revision is not the revision in its manifest.")
        return RecordedRun(run_id, tags.get("fingerprint", ""), manifest, read_configuration(configuration))


def _from_raw(recorded: RecordedRun, repository: Repository, folder: Path, report: Report) -> DatasetManifest:
    version, project = recorded.manifest.data_version, recorded.project
    if version is None:
        raise RecordError(
            f"Run {recorded.run_id} has no version of its raw data.",
            where="the run's tag dvc.revision",
            remedy="Reproduce the run from the Delta versions of gold, if the lake still has them.",
        )
    report(f"Pulling {counted(version.files, 'file')} ({version.bytes / 1e6:.1f} MB) of revision {version.revision}.")
    raw = repository.pull(version.revision, folder / "raw")
    lake = Lake(str(folder / "lake"))
    delivered = import_bronze(project, raw, lake)
    # A reference table stays valid after its delivery, so gold days can be later than the last delivery.
    days = DayRange(delivered.first, max(delivered.last, recorded.manifest.days[-1]))
    report(f"Bronze has {days}; building silver and gold.")
    refine(project, lake, days, folder / "reports")
    report("Building labels and the data set.")
    build_labels(project, lake, days)
    return build_dataset(project, lake, recorded.manifest.through, folder / "dataset").manifest


def _from_delta(recorded: RecordedRun, lake: Lake, folder: Path, report: Report) -> DatasetManifest:
    tables = recorded.manifest.tables
    report(f"Reading {', '.join(f'{name} at version {version}' for name, version in tables.items())} from {lake.uri}.")
    return build_dataset(recorded.project, lake.at(tables), recorded.manifest.through, folder).manifest


def _configuration_changed(recorded: RecordedRun) -> bool:
    try:
        return configuration_sha256(load_project(recorded.manifest.project)) != recorded.manifest.configuration_sha256
    except ProjectError:
        return True


def _verdict(recorded: RecordedRun, rebuilt: DatasetManifest, agrees: bool) -> str:
    if agrees:
        return "The rebuilt data set equals the recorded data set."
    if recorded.manifest.fingerprint == rebuilt.fingerprint:
        return "The rebuilt data set equals the run's manifest, but the run's tag has another fingerprint."
    parts = zip(recorded.manifest.parts.items(), rebuilt.parts.values(), strict=True)
    differences = [f"{name} {_difference(old, new)}" for (name, old), new in parts if old.columns != new.columns]
    return f"The rebuilt data set differs from the recorded data set: {'; '.join(differences)}."


def _difference(old: DatasetPart, new: DatasetPart) -> str:
    if (old.rows, old.days) != (new.rows, new.days):
        return (
            f"has {counted(new.rows, 'row')} of {counted(len(new.days), 'day')} instead of {old.rows} "
            f"of {len(old.days)}"
        )
    names = sorted(name for name in {*old.columns, *new.columns} if old.columns.get(name) != new.columns.get(name))
    return f"has the same {counted(new.rows, 'row')} with other values in {', '.join(names)}"


def _invalid_record(run_id: str, settings: Settings, reason: str) -> RecordError:
    return RecordError(
        f"Run {run_id} cannot be reproduced. {reason}",
        where=settings.mlflow.tracking_uri,
        remedy="Name the run of a training; `run_id` is in its result and in the registry.",
    )
