"""Building the training set of a run again, and saying whether it is the same.

Two ways lead there. From the raw data: the version that the run names is pulled, and goes through bronze, silver, gold
and labels in an empty folder; nothing of the lake is used. From Delta: gold is read at the versions that the run names,
which takes seconds and needs the lake to have them still.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from include.days import DayRange
from include.features.labels import build_labels
from include.ingest import refine
from include.lake import Lake, open_lake
from include.projects import ProjectError, load_project
from include.settings import Settings
from include.training.data.configuration import configuration_sha256
from include.training.data.dataset import DatasetManifest, DatasetPart, build_dataset
from include.versions.export import import_bronze
from include.versions.recorded import RecordedRun, RecordError, recorded_run
from include.versions.repository import Repository, open_repository

Way = Literal["raw", "delta"]
Say = Callable[[str], None]


@dataclass(frozen=True)
class Reproduction:
    """How a reproduction went.

    Attributes:
        run: The MLflow run.
        revision: The version of the raw data that the run names.
        agrees: Whether the rebuilt training set is the recorded one.
        fingerprint_recorded: The run's.
        fingerprint_rebuilt: That of the set built now.
        rows: The rows of the set built now.
        path: ``raw`` or ``delta``.
        configuration_changed: Whether the project is configured otherwise today; the recorded configuration was used.
    """

    run: str
    revision: str | None
    agrees: bool
    fingerprint_recorded: str
    fingerprint_rebuilt: str
    rows: int
    path: Way
    configuration_changed: bool

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome as plain JSON types."""
        return asdict(self)


def reproduce(settings: Settings, run_id: str, way: Way, say: Say) -> Reproduction:
    """Build the training set of ``run_id`` again and compare it.

    Args:
        settings: Name the tracking server, the remote and, for ``delta``, the lake; the project is the run's.
        run_id: The MLflow run of a training.
        way: From the ``raw`` data, or from ``delta`` versions of gold.
        say: Is told each step, in words.

    Raises:
        RecordError: The run did not record what is needed.
        VersionError: The remote does not have the revision, or holds a damaged file.
        ChurnflowError: The data cannot be built with the recorded configuration.
    """
    say(f"Reading what run {run_id} recorded from {settings.mlflow.tracking_uri}.")
    recorded = recorded_run(settings, run_id)
    changed = _configuration_changed(recorded)
    if changed:
        say("The project is configured otherwise today; the recorded configuration is used.")
    own = settings.model_copy(update={"project": recorded.manifest.project})
    with tempfile.TemporaryDirectory(prefix="churn-reproduce-") as scratch:
        if way == "raw":
            rebuilt = _from_raw(recorded, open_repository(own), Path(scratch), say)
        else:
            rebuilt = _from_delta(recorded, open_lake(own), Path(scratch), say)
    fingerprints = {recorded.fingerprint, recorded.manifest.fingerprint, rebuilt.fingerprint}
    agrees = len(fingerprints) == 1
    say(_verdict(recorded, rebuilt, agrees))
    return Reproduction(
        run=run_id,
        revision=recorded.revision,
        agrees=agrees,
        fingerprint_recorded=recorded.fingerprint,
        fingerprint_rebuilt=rebuilt.fingerprint,
        rows=rebuilt.train.rows + rebuilt.test.rows,
        path=way,
        configuration_changed=changed,
    )


def _from_raw(recorded: RecordedRun, repository: Repository, folder: Path, say: Say) -> DatasetManifest:
    version, project = recorded.manifest.data_version, recorded.project
    if version is None:
        raise RecordError(
            f"Run {recorded.run_id} names no version of its raw data.",
            where="its tag dvc.revision",
            remedy="Reproduce it from Delta versions of gold, if the lake still has them.",
        )
    say(f"Pulling {version.files} files ({version.bytes / 1e6:.1f} MB) of revision {version.revision}.")
    raw = repository.pull(version.revision, folder / "raw")
    lake = Lake(str(folder / "lake"))
    delivered = import_bronze(project, raw, lake)
    # A reference table stays in force after its delivery, so its gold may be of a later day.
    days = DayRange(delivered.first, max(delivered.last, *recorded.manifest.train.days, *recorded.manifest.test.days))
    say(f"Bronze has {days}; building silver and gold.")
    refine(project, lake, days, folder / "reports")
    say("Building labels and the training set.")
    build_labels(project, lake, days)
    return build_dataset(project, lake, recorded.manifest.through, folder / "dataset").manifest


def _from_delta(recorded: RecordedRun, lake: Lake, folder: Path, say: Say) -> DatasetManifest:
    tables = recorded.manifest.tables
    say(f"Reading {', '.join(f'{name} at version {version}' for name, version in tables.items())} from {lake.uri}.")
    return build_dataset(recorded.project, lake.at(tables), recorded.manifest.through, folder).manifest


def _configuration_changed(recorded: RecordedRun) -> bool:
    try:
        return configuration_sha256(load_project(recorded.manifest.project)) != recorded.manifest.configuration_sha256
    except ProjectError:
        return True


def _verdict(recorded: RecordedRun, rebuilt: DatasetManifest, agrees: bool) -> str:
    if agrees:
        return "The rebuilt training set is the recorded one."
    if recorded.manifest.fingerprint == rebuilt.fingerprint:
        return "The rebuilt training set is the one in the run's manifest, but the run's tag names another fingerprint."
    parts = {"train": (recorded.manifest.train, rebuilt.train), "test": (recorded.manifest.test, rebuilt.test)}
    told = [f"{name} {_difference(old, new)}" for name, (old, new) in parts.items() if old.columns != new.columns]
    return f"The rebuilt training set differs from the recorded one: {'; '.join(told)}."


def _difference(old: DatasetPart, new: DatasetPart) -> str:
    if (old.rows, old.days) != (new.rows, new.days):
        return f"has {new.rows} rows of {len(new.days)} days instead of {old.rows} of {len(old.days)}"
    names = sorted(name for name in {*old.columns, *new.columns} if old.columns.get(name) != new.columns.get(name))
    return f"has the same {new.rows} rows with other values in {', '.join(names)}"
