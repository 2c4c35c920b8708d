"""A deployment of a small project in a temporary home, with a registry in a file that all tests share."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import mlflow
import pytest

from include.projects.readiness import CheckName
from include.projects.training import LeakageLimits
from include.readiness.gates import GATES
from include.readiness.system import Evidence, System
from include.settings import ROOT, MlflowSettings, ServingSettings, Settings
from include.training.evaluation.leakage import LEAKAGE_FILE, LeakageReport
from include.training.evaluation.requirements import REQUIREMENTS_FILE, Verdict, verdicts_document
from tests.http_servers import StubHandler, stub
from tests.serving.conftest import free_port
from tests.training.gold import small_project
from tests.versions.conftest import landing

__all__ = ["landing"]

NOW = dt.datetime.now(dt.UTC)
CLEAN = LeakageReport(findings=(), limits=LeakageLimits(), features=(), splits=(), skipped=())
ACCURATE = Verdict("accuracy", "min", 0.75, 0.8, "after_training", "dry_run")
_numbers = count()


@pytest.fixture(scope="session")
def registry_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A registry without models."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('registry') / 'mlflow.db'}"
    mlflow.MlflowClient(uri, uri).search_registered_models()  # creates the tables
    return uri


@pytest.fixture
def system(tmp_path: Path, registry_uri: str) -> System:
    """A deployment in which nothing has been done."""
    project = small_project().model_copy(update={"name": f"shop{next(_numbers)}"})
    settings = Settings(
        home=tmp_path,
        project=project.name,
        mlflow=MlflowSettings(tracking_uri=registry_uri),
        serving=ServingSettings(port=free_port()),
    )
    return System(settings, project, NOW)


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A copy of the product's files that the checks read."""
    root = tmp_path / "product"
    for name in ("docs", "helm", "docker", ".github"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("docker-compose.yaml", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    return root


def examine(system: System, name: CheckName) -> Evidence:
    """Return the evidence of one check."""
    (check,) = (check for gate in GATES.values() for check in gate.checks if check.name == name)
    return check.examine(system)


def register(
    system: System,
    *,
    tags: dict[str, str] | None = None,
    verdicts: list[Verdict] | None = None,
    leakage: LeakageReport | None = CLEAN,
    aliases: tuple[str, ...] = ("challenger", "champion"),
) -> str:
    """Register a version with the records of a training, and return the version."""
    uri, name = system.settings.mlflow.tracking_uri, f"churn-{system.settings.project}"
    client = mlflow.MlflowClient(uri, uri)
    artifacts = (system.settings.home / "artifacts").as_uri()
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment else client.create_experiment(name, artifact_location=artifacts)
    if experiment is None:
        client.create_registered_model(name)
    run = client.create_run(number).info
    client.log_metric(run.run_id, "auc", 0.8)
    client.log_text(run.run_id, json.dumps(verdicts_document(verdicts or [])), REQUIREMENTS_FILE)
    if leakage is not None:
        client.log_text(run.run_id, leakage.model_dump_json(), LEAKAGE_FILE)
    version = str(client.create_model_version(name, f"{run.artifact_uri}/model", run.run_id, tags=tags or {}).version)
    for alias in aliases:
        client.set_registered_model_alias(name, alias, version)
    return version


@contextmanager
def endpoint(system: System, version: str) -> Iterator[System]:
    """Run a server that answers as the endpoint, and yield the deployment with its port."""
    answers = {
        "/health": json.dumps({"bento": f"{version}-x", "model_version": version}).encode(),
        "/metrics": b'ml_prediction_errors_total{kind="internal"} 3.0\n',
    }

    class Endpoint(StubHandler):
        def respond(self) -> None:
            self.answer(answers[self.path])

    with stub(Endpoint) as port:
        serving = system.settings.serving.model_copy(update={"port": port})
        yield with_settings(system, serving=serving)


def with_settings(system: System, **changes: Any) -> System:
    """Return the deployment with other settings."""
    return System(system.settings.model_copy(update=changes), system.project, system.now, system.root)


def with_project(system: System, **changes: Any) -> System:
    """Return the deployment with other parts of the project."""
    return System(system.settings, system.project.model_copy(update=changes), system.now, system.root)


def with_root(system: System, root: Path) -> System:
    """Return the deployment with other files of the product."""
    return System(system.settings, system.project, system.now, root)


def edit(path: Path, change: Callable[[str], str]) -> None:
    """Replace the text of a file, which must change."""
    before = path.read_text()
    after = change(before)
    assert after != before
    path.write_text(after)
