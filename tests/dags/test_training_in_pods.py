"""The training commands in pods: two workers share a search, a third pod fits, and Airflow reads its result."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from include.lake import Lake
from include.projects import load_project
from include.settings import ROOT, Settings
from include.training.data.build import build_dataset
from include.training.data.dataset import dataset_dir
from include.training.release.registry import Registry
from tests.dags.bundle.pods import pods
from tests.kubernetes.api import KubernetesApi
from tests.training.gold import LAST_DAY, snapshot_days, write_gold

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.usefixtures("airflow_database")]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image of the product whose grocery project needs little data and few small trees."""
    folder = tmp_path / "image"
    shutil.copytree(ROOT / "include", folder / "include", ignore=shutil.ignore_patterns("__pycache__"))
    for name, key, changes in (
        ("training", None, {"n_trials": 4, "cv_folds": 2, "test_snapshots": 4}),
        ("training", "search_space", {"n_estimators": {"low": 10, "high": 30}}),
        ("requirements", "data", {"min_training_samples": 100}),
    ):
        file = folder / f"include/projects/grocery/{name}.yaml"
        content = yaml.safe_load(file.read_text())
        (content[key] if key else content).update(changes)
        file.write_text(yaml.safe_dump(content))
    return folder


def test_workers_and_final_fit_register_a_model(
    cluster: KubernetesApi, home: Path, image: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    cluster.cluster.image = image
    settings = Settings(
        home=home,
        mlflow={"tracking_uri": f"sqlite:///{home}/mlflow.db"},
        training={"backend": "kubernetes", "pod": {"gpus": 0, "tuning_gpus": 0}},
    )
    project = load_project("grocery", root=image / "include/projects")
    lake = Lake(f"{settings.lake_uri}/grocery")
    write_gold(lake, project, snapshot_days(project, 30), customers=150)
    folder = build_dataset(project, lake, LAST_DAY, dataset_dir(settings, LAST_DAY)).folder

    run = pods(settings).test()

    assert {task.task_id: str(task.state) for task in run.get_task_instances()} == dict.fromkeys(
        ["start", "tune", "train", "read_result"], "success"
    )
    *workers, trained = [json.loads(pod.log[-1][1]) for pod in cluster.created]
    assert sorted(work["worker"] for work in workers) == [0, 1]
    assert [work["trials"] for work in workers] == [project.training.n_trials] * 2
    assert trained["resumed_trials"] == project.training.n_trials
    assert json.loads((folder / "result.json").read_text()) == trained
    assert Registry(settings).version_of("challenger") == trained["model_version"] == "1"
    # The provider skips lines of the current second, so that the last lines before the end of a pod can be missing.
    assert '[base] {"time"' in capfd.readouterr().out
