from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from include.settings import Settings
from include.training.data.dataset import dataset_dir, dataset_name
from include.training.pod import dataset_as_seen, training_command, training_environment
from include.training.tuning.trials import GENERATION


def test_process_and_pod_run_the_same_command_on_the_same_data_set(tmp_path: Path) -> None:
    day = dt.date(2017, 12, 31)
    name = dataset_name("grocery", day)
    process, pod = (
        Settings(home=tmp_path),
        Settings(home=tmp_path, training={"backend": "kubernetes", "device": "cuda"}),
    )
    assert dataset_as_seen(process, name) == str(dataset_dir(process, day))
    assert dataset_as_seen(pod, name) == "/data/grocery/2017-12-31"
    commands = [training_command(dataset_as_seen(where, name), "r.json") for where in (process, pod)]
    assert commands[0][:5] == commands[1][:5] == ["python", "-m", "include.training", "run", "--dataset"]


def test_a_template_of_the_name_passes_unchanged(tmp_path: Path) -> None:
    name = "{{ ti.xcom_pull(task_ids='build_dataset')['name'] }}"
    assert dataset_as_seen(Settings(home=tmp_path), name) == f"{tmp_path}/training/{name}"


def test_the_environment_reproduces_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        home=tmp_path,
        mlflow={"tracking_uri": "http://mlflow.example:5000"},
        training={"device": "cuda", "workers": 3},
    )
    for name, value in training_environment(settings).items():
        monkeypatch.setenv(name, value)
    there = Settings(home=tmp_path)
    assert (there.project, there.mlflow, there.training) == (settings.project, settings.mlflow, settings.training)


@pytest.mark.parametrize(
    ("device", "gpus", "tuning_gpus"), [("cpu", 2, 1), ("cpu", 0, 1), ("cuda", 0, 1), ("cuda", 2, 0)]
)
def test_pods_that_reserve_gpus_without_training_on_them_are_refused(device: str, gpus: int, tuning_gpus: int) -> None:
    described = {"device": device, "pod": {"gpus": gpus, "tuning_gpus": tuning_gpus}}
    with pytest.raises(ValueError, match="CHURN_TRAINING__DEVICE=cuda"):
        Settings(training={"backend": "kubernetes", **described})
    assert Settings(training={"backend": "process", **described}).training.device == device


def test_there_are_no_more_workers_than_trials_that_run_side_by_side() -> None:
    assert Settings(training={"workers": GENERATION}).training.workers == GENERATION
    with pytest.raises(ValueError, match="workers"):
        Settings(training={"workers": GENERATION + 1})
