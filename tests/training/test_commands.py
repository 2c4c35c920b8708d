from __future__ import annotations

import datetime as dt
import traceback
from pathlib import Path

import pytest

from include.settings import Settings, SettingsError, get_settings
from include.training.commands import dataset_path, pod_environment, training_command, training_environment
from include.training.data.dataset import dataset_dir, dataset_name
from include.training.tuning.trials import BATCH_SIZE


def test_process_and_pod_run_the_same_command(tmp_path: Path) -> None:
    day = dt.date(2017, 12, 31)
    name = dataset_name("grocery", day)
    process, pod = (
        Settings(home=tmp_path),
        Settings(home=tmp_path, training={"backend": "kubernetes", "device": "cuda"}),
    )
    assert dataset_path(process, name) == str(dataset_dir(process, day))
    assert dataset_path(pod, name) == "/data/grocery/2017-12-31"
    commands = [training_command(dataset_path(where, name), "r.json") for where in (process, pod)]
    assert commands[0][:5] == commands[1][:5] == ["python", "-m", "include.training", "run", "--dataset"]


def test_template_in_a_data_set_name_is_unchanged(tmp_path: Path) -> None:
    name = "{{ ti.xcom_pull(task_ids='build_dataset')['name'] }}"
    assert dataset_path(Settings(home=tmp_path), name) == f"{tmp_path}/training/{name}"


def test_environment_reproduces_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_rejects_mismatch_of_device_and_gpus(device: str, gpus: int, tuning_gpus: int) -> None:
    described = {"device": device, "pod": {"gpus": gpus, "tuning_gpus": tuning_gpus}}
    with pytest.raises(ValueError, match="CHURN_TRAINING__DEVICE=cuda"):
        Settings(training={"backend": "kubernetes", **described})
    assert Settings(training={"backend": "process", **described}).training.device == device


def test_rejects_tuning_storage_outside_the_pod_secret() -> None:
    storage = "postgresql+psycopg2://user:hidden@database/trials"
    described = {"device": "cuda", "tuning_storage": storage, "pod": {"tracking_env_from": "our-secret"}}
    with pytest.raises(ValueError, match="a key to the secret 'our-secret'") as caught:
        Settings(training={"backend": "kubernetes", **described})
    assert "hidden" not in str(caught.value)
    assert Settings(training={"backend": "process", **described}).training.tuning_storage.get_secret_value() == storage


def test_pod_reads_tuning_storage_from_its_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside = Settings(home=tmp_path, training={"backend": "kubernetes", "device": "cuda"})
    secret = {"CHURN_TRAINING__TUNING_STORAGE": "postgresql+psycopg2://user:hidden@database/trials"}
    for name, value in (pod_environment(outside) | secret).items():
        monkeypatch.setenv(name, value)
    assert Settings().training.tuning_storage.get_secret_value() == secret["CHURN_TRAINING__TUNING_STORAGE"]


@pytest.mark.parametrize("credentials", ["user:hidden@", "hidden@", "user:@"])
def test_rejects_credentials_in_tracking_uri_and_hides_them(credentials: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_MLFLOW__TRACKING_URI", f"https://{credentials}mlflow.example/path")
    get_settings.cache_clear()
    with pytest.raises(SettingsError, match="MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD") as caught:
        get_settings()
    assert "CHURN_MLFLOW__TRACKING_URI" in str(caught.value)
    assert "hidden" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("uri", ["http://mlflow:5000", "https://mlflow.example/a@b", "postgresql://database/mlflow"])
def test_accepts_other_tracking_uris(uri: str) -> None:
    assert Settings(mlflow={"tracking_uri": uri}).mlflow.tracking_uri == uri


def test_number_of_workers_is_at_most_the_batch_size() -> None:
    assert Settings(training={"workers": BATCH_SIZE}).training.workers == BATCH_SIZE
    with pytest.raises(ValueError, match="workers"):
        Settings(training={"workers": BATCH_SIZE + 1})
