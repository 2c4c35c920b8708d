"""Training pods on a simulated cluster: success, failure, eviction, deadlines and pods that never start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from include.settings import PodSettings, Settings, TrainingSettings
from tests.dags.bundle.pods import DATASET, pods
from tests.kubernetes.api import KubernetesApi
from tests.kubernetes.pod import Fate

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.usefixtures("airflow_database")]

Printed = pytest.CaptureFixture[str]

SUCCEED = "import pathlib, sys; print('at work', flush=True); pathlib.Path(sys.argv[1]).write_text('{}')"
FAIL = "import sys; sys.exit('no such column')"
LINGER = "import time; print('at work', flush=True); time.sleep(1.5)"
RESULT = f"/data/{DATASET}/result.json"


def run(
    home: Path,
    *,
    workers: int = 1,
    tuning: str = "",
    training: str = SUCCEED,
    training_startup_seconds: int | None = None,
    **pod: Any,
) -> dict[str, str]:
    """Run the DAG, and return the state of each task and of each named worker."""
    described = PodSettings(**({"retries": 0} | pod))
    settings = Settings(
        home=home, training=TrainingSettings(backend="kubernetes", device="cuda", workers=workers, pod=described)
    )
    programs = {"tuning": [tuning or "print('tuned')"], "training": [training, RESULT]}
    return states_of(pods(settings, **programs, startup_timeout_seconds=training_startup_seconds))


def states_of(dag: DAG) -> dict[str, str]:
    tasks = dag.test().get_task_instances()
    return {
        task.task_id if task.map_index < 0 else f"{task.task_id}, {task.rendered_map_index}": str(task.state)
        for task in tasks
    }


def test_successful_pod_writes_result_and_is_deleted(cluster: KubernetesApi, home: Path) -> None:
    states = run(home, workers=2)
    assert states == dict.fromkeys(["start", "tune, worker 0", "tune, worker 1", "train", "read_result"], "success")
    assert len(cluster.created) == 3
    assert cluster.pods == {}


def test_failed_pod_fails_its_task_and_is_kept(cluster: KubernetesApi, home: Path, capfd: Printed) -> None:
    states = run(home, training=FAIL)
    assert (states["train"], states["read_result"]) == ("failed", "upstream_failed")
    (kept,) = cluster.pods.values()
    assert kept.phase == "Failed"
    assert kept.labels["app.kubernetes.io/component"] == "training"
    assert "no such column" in capfd.readouterr().out


def test_failed_worker_is_retried_and_does_not_stop_training(cluster: KubernetesApi, home: Path) -> None:
    states = run(home, workers=2, tuning="import sys; sys.exit(int(sys.argv[1]))", retries=1)
    assert states == {"start": "success", "tune, worker 0": "success", "tune, worker 1": "failed"} | dict.fromkeys(
        ["train", "read_result"], "success"
    )
    workers = [pod.labels["map_index"] for pod in cluster.created if "map_index" in pod.labels]
    assert sorted(workers) == ["0", "1", "1"]


def test_no_pod_is_created_without_a_data_set(cluster: KubernetesApi, home: Path) -> None:
    settings = Settings(home=home, training=TrainingSettings(backend="kubernetes", device="cuda"))
    states = states_of(pods(settings, without_dataset=True))
    assert states.pop("start") == "failed"
    assert states.keys() >= {"train", "read_result"}
    assert set(states.values()) == {"upstream_failed"}
    assert cluster.created == []


def test_evicted_pod_is_retried(cluster: KubernetesApi, home: Path, capfd: Printed) -> None:
    cluster.fates = [Fate.RUNS, Fate.IS_EVICTED]
    states = run(home, training=f"{LINGER}; {SUCCEED}", retries=1)
    assert states["train"] == "success"
    assert [pod.phase for pod in cluster.created] == ["Succeeded", "Failed", "Succeeded"]
    assert [pod.as_dict()["status"]["reason"] for pod in cluster.pods.values()] == ["Evicted"]
    assert "Evicted" in capfd.readouterr().out


def test_pod_at_its_deadline_is_not_retried(cluster: KubernetesApi, home: Path, capfd: Printed) -> None:
    states = run(home, training=f"{LINGER}; time.sleep(60)", retries=3, active_deadline_seconds=1)
    assert (states["train"], states["read_result"]) == ("failed", "upstream_failed")
    (kept,) = cluster.pods.values()
    assert kept.as_dict()["status"]["reason"] == "DeadlineExceeded"
    output = capfd.readouterr().out
    assert "at work" in output
    assert "CHURN_TRAINING__POD__ACTIVE_DEADLINE_SECONDS" in output


def test_pod_with_an_error_that_a_retry_cannot_fix_is_not_retried(
    cluster: KubernetesApi, home: Path, capfd: Printed
) -> None:
    refuse = "import sys; print('at work'); print('The data set is damaged.', file=sys.stderr); sys.exit(65)"
    states = run(home, tuning=refuse, training=refuse, retries=3)
    assert (states["tune, worker 0"], states["train"]) == ("failed", "failed")
    assert len(cluster.created) == 2
    assert "AirflowFailException: The data set is damaged." in capfd.readouterr().out


def test_interrupted_log_does_not_end_the_task(cluster: KubernetesApi, home: Path, capfd: Printed) -> None:
    cluster.cut_logs = 2
    lines = "[print('line', i, flush=True) or time.sleep(0.1) for i in range(25)]"
    states = run(home, training=f"import time; {lines}; {SUCCEED}")
    assert states["train"] == "success"
    assert cluster.cut_logs == 0
    assert "line 24" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("fate", "reason"),
    [
        (Fate.FINDS_NO_NODE, "Pod took too long to be scheduled"),
        (Fate.FINDS_NO_IMAGE, "Image cannot be pulled"),
    ],
)
def test_pod_that_never_starts_is_deleted(
    cluster: KubernetesApi, home: Path, capfd: Printed, fate: Fate, reason: str
) -> None:
    cluster.fates = [Fate.RUNS, fate]
    states = run(home, training_startup_seconds=1)
    assert states["train"] == "failed"
    assert cluster.pods == {}
    assert reason in capfd.readouterr().out


def test_pod_without_its_secret_fails(cluster: KubernetesApi, home: Path) -> None:
    # No pod of this namespace can start, so a short timeout does not depend on the speed of the machine.
    states = run(home, tracking_env_from="elsewhere", startup_timeout_seconds=1)
    assert (states["tune, worker 0"], states["train"]) == ("failed", "failed")
    assert cluster.pods == {}


def test_success_without_result_fails(cluster: KubernetesApi, home: Path, capfd: Printed) -> None:
    cluster.fates = [Fate.RUNS, Fate.VANISHES]
    states = run(home, training=LINGER)
    assert (states["train"], states["read_result"]) == ("success", "failed")
    assert "The training ended without a result." in capfd.readouterr().out
