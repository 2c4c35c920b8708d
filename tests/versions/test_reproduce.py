"""Reproduction of a data set from its raw data, and from Delta versions."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from typer.testing import CliRunner

from include.days import DayRange
from include.features.labels import build_labels
from include.ingest import refine
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE
from include.settings import ProjectMismatchError, Settings, get_settings
from include.training.data.build import build_dataset
from include.training.data.dataset import MANIFEST_FILE, PROJECT_FILE, DatasetRef, load_dataset
from include.training.release.tracking import DATASET_ARTIFACT, log_dataset, open_experiment
from include.versions.__main__ import app
from include.versions.repository import VersionError, open_repository
from include.versions.reproduce import RecordError, Reproduction, reproduce
from include.versions.snapshot import version_dataset
from tests.versions.world import DAYS, load, short_project
from tests.world import transactions, write_transactions, write_world

pytestmark = pytest.mark.slow


@dataclass
class World:
    """A deployment with ten ingested weeks, and the versioned data set of its last day."""

    settings: Settings
    dataset: DatasetRef
    landing: Path

    def record(self) -> str:
        """Log the data set to a run, as a training does, and return the id of the run."""
        open_experiment(self.settings, "churn-grocery")
        with mlflow.start_run() as run:
            log_dataset(self.dataset)
        return str(run.info.run_id)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home, mlflow={"tracking_uri": f"sqlite:///{home}/mlflow.db"})
    project, lake, landing = short_project(), open_lake(settings), home / "landing" / "grocery"
    write_world(landing, DAYS)
    # The history is ingested in one run and the last day in another run, as in a deployment.
    for days in (DayRange(DAYS.first, DAYS.last - dt.timedelta(days=1)), DayRange.single(DAYS.last)):
        load(project, lake, landing, days)
        refine(project, lake, days, home / "reports")
        build_labels(project, lake, days)
    built = build_dataset(project, lake, DAYS.last, home / "dataset")
    version_dataset(project, lake, open_repository(settings), built.folder)
    return World(settings, load_dataset(built.folder), landing)


@pytest.fixture(autouse=True)
def here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    # MLflow stores the artifacts of an SQLite store below the working directory.
    monkeypatch.chdir(world.settings.home)


def artifacts(world: World, run: str) -> Path:
    uri = mlflow.MlflowClient(world.settings.mlflow.tracking_uri).get_run(run).info.artifact_uri
    return Path(str(uri).removeprefix("file://")) / DATASET_ARTIFACT


def command(*arguments: str) -> tuple[int, dict[str, Any]]:
    answer = CliRunner().invoke(app, list(arguments))
    return answer.exit_code, json.loads(answer.stdout.splitlines()[-1])


def test_reproduces_from_raw_data_in_an_empty_folder(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.record()
    manifest = world.dataset.manifest
    tags = mlflow.MlflowClient(world.settings.mlflow.tracking_uri).get_run(run).data.tags
    assert manifest.data_version is not None
    assert tags["dvc.revision"] == manifest.data_version.revision
    assert tags["dvc.remote"] == str(world.settings.home / "versions" / "remote" / "grocery")
    lake = open_lake(world.settings)
    for table in ("bronze/transactions", FEATURES_TABLE):
        assert tags[f"table.{table}"] == str(lake.table(table).version())
    assert (artifacts(world, run) / "bronze.dvc").read_text() == manifest.data_version.pointer

    # Simulate a machine with access only to the tracking server and the remote.
    monkeypatch.setenv("CHURN_HOME", str(world.settings.home / "elsewhere"))
    monkeypatch.setenv("CHURN_VERSIONS__REMOTE", str(world.settings.home / "versions" / "remote"))
    monkeypatch.setenv("CHURN_MLFLOW__TRACKING_URI", world.settings.mlflow.tracking_uri)
    get_settings.cache_clear()
    exit_code, answer = command("reproduce", "--run", run)
    get_settings.cache_clear()
    assert exit_code == 0
    assert answer == {
        "run": run,
        "revision": manifest.data_version.revision,
        "agrees": True,
        "fingerprint_recorded": manifest.fingerprint,
        "fingerprint_rebuilt": manifest.fingerprint,
        "rows": sum(part.rows for part in manifest.parts.values()),
        "path": "raw",
        # The run's project is not the grocery project as it is configured in this repository.
        "configuration_changed": True,
        "erased": False,
    }


def from_delta(world: World, run: str) -> Reproduction:
    return reproduce(world.settings, run, "delta", lambda _: None)


def test_reproduces_from_recorded_delta_versions(world: World) -> None:
    run = world.record()
    lake, days = open_lake(world.settings), world.dataset.manifest.train.days
    labels = lake.table(LABELS_TABLE)
    version = labels.version()
    labels.replace(days, labels.read([]))
    try:
        outcome = from_delta(world, run)
    finally:
        labels.replace(days, lake.at({LABELS_TABLE: version}).table(LABELS_TABLE).read(days))
    assert (outcome.agrees, outcome.path) == (True, "delta")


def test_changed_fingerprint_does_not_agree(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    run = world.record()
    mlflow.MlflowClient(world.settings.mlflow.tracking_uri).set_tag(run, "fingerprint", "0" * 64)
    monkeypatch.setenv("CHURN_HOME", str(world.settings.home))
    monkeypatch.setenv("CHURN_MLFLOW__TRACKING_URI", world.settings.mlflow.tracking_uri)
    get_settings.cache_clear()
    exit_code, answer = command("reproduce", "--run", run, "--delta")
    get_settings.cache_clear()
    assert (exit_code, answer["agrees"], answer["fingerprint_recorded"]) == (1, False, "0" * 64)


def test_different_raw_data_does_not_agree(world: World, tmp_path: Path) -> None:
    # A day is delivered again after the data set was built and before its version is created.
    project, lake = short_project(), open_lake(world.settings)
    folder = Path(shutil.copytree(world.dataset.folder, tmp_path / "dataset"))
    day = world.dataset.manifest.test.days[-1]
    write_transactions(tmp_path, day, transactions(day, seed=3))
    for name in ("coupon_redemptions", "campaign_mailings", "products", "demographics"):
        shutil.copytree(world.landing / name, tmp_path / name)
    load(project, lake, tmp_path, DayRange.single(day))
    version_dataset(project, lake, open_repository(world.settings), folder)
    other = World(world.settings, load_dataset(folder), world.landing)
    told: list[str] = []
    outcome = reproduce(world.settings, other.record(), "raw", told.append)
    load(project, lake, world.landing, DayRange.single(day))
    assert outcome.revision != world.dataset.manifest.data_version.revision  # type: ignore[union-attr]
    assert (outcome.agrees, outcome.fingerprint_recorded) == (False, world.dataset.manifest.fingerprint)
    assert told[-1].startswith("The rebuilt data set differs from the recorded data set: test has")


def test_changed_record_is_an_error(world: World) -> None:
    run = world.record()
    with (artifacts(world, run) / PROJECT_FILE).open("a") as file:
        file.write("owner: another team\n")
    with pytest.raises(RecordError, match="configuration was removed or changed"):
        from_delta(world, run)

    run = world.record()
    mlflow.MlflowClient(world.settings.mlflow.tracking_uri).set_tag(run, "dvc.revision", "0" * 32)
    with pytest.raises(RecordError, match=r"dvc\.revision"):
        from_delta(world, run)

    run = world.record()
    (artifacts(world, run) / MANIFEST_FILE).unlink()
    with pytest.raises(RecordError, match="recorded no data set"):
        from_delta(world, run)


def test_missing_raw_data_is_an_error(world: World) -> None:
    run = world.record()
    remote = Path(world.settings.home / "versions" / "remote")
    remote.rename(remote.with_name("away"))
    try:
        with pytest.raises(VersionError, match="cannot be pulled"):
            reproduce(world.settings, run, "raw", lambda _: None)
    finally:
        remote.with_name("away").rename(remote)
    other = short_project().model_copy(update={"name": "other"})
    with pytest.raises(ProjectMismatchError, match=r"data set belongs to project 'grocery'.*'other'"):
        version_dataset(other, open_lake(world.settings), open_repository(world.settings), world.dataset.folder)
    unversioned = world.dataset.manifest.model_copy(update={"data_version": None})
    folder = Path(shutil.copytree(world.dataset.folder, world.settings.home / "unversioned"))
    (folder / MANIFEST_FILE).write_text(unversioned.model_dump_json())
    run = World(world.settings, load_dataset(folder), world.landing).record()
    with pytest.raises(RecordError, match="has no version"):
        reproduce(world.settings, run, "raw", lambda _: None)
