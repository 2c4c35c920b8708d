from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import psutil
import pytest

from benchmarks.local_stack import free_ports
from include.days import DayRange
from include.provenance.statement import PROVENANCE_FILE
from include.settings import ROOT, ServingSettings, Settings
from include.training.release.registry import Registry
from local.client import AirflowClient, ApiError, Run
from local.demo import LIMIT_SECONDS
from local.environment import LocalPorts
from local.stack import Stack
from tests.failures import LOG_FOLDERS

_POLL_SECONDS = 1.0
_LOG_LINES = 40


@dataclass(frozen=True)
class RunningStack:
    """A stack for these tests, and its command line."""

    stack: Stack
    client: AirflowClient
    variables: dict[str, str]

    def run(self, *command: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a command of the repository against this stack."""
        return subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | self.variables,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def wait_for(self, *runs: Run, state: str = "success", seconds: float = 400) -> None:
        """Wait until DAG runs have ended, and check how.

        Args:
            runs: The runs, as triggered.
            state: How each of them must end.
            seconds: How long to wait; less than the test's time-out, so that a failure says what was awaited.

        Raises:
            AssertionError: A run ended otherwise or has not ended; the message has the log of its last task.
        """
        end = time.monotonic() + seconds
        pending = {run.run_id: run for run in runs}
        since = min(run.created for run in runs)
        while pending:
            for run in self.client.snapshot(since).runs:
                if run.run_id in pending and run.ended:
                    del pending[run.run_id]
                    assert run.state == state, f"{run.title} ended as {run.state}.\n{self.last_task_log(run)}"
            if pending and time.monotonic() > end:
                logs = "\n".join(self.last_task_log(run) for run in pending.values())
                waited = ", ".join(run.title for run in pending.values())
                raise AssertionError(f"Waited {seconds:.0f} s for the end of {waited}.\n{logs}")
            time.sleep(_POLL_SECONDS)

    def wait_for_days(self, days: DayRange, dag_id: str, seconds: float = 900) -> None:
        """Wait until a DAG has succeeded for each of some days, as the last one that an ingest triggers.

        Args:
            days: The partitions of the runs.
            dag_id: The DAG to wait for.
            seconds: How long to wait; less than the test's time-out, so that a failure says what was awaited.

        Raises:
            AssertionError: A run of any DAG for these days failed, or the time is over; with the log of a task.
        """
        end = time.monotonic() + seconds
        wanted = {str(day) for day in days}
        start = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)  # the run_after of a run of a backfill is its day
        while True:
            # The key of a backfilled run is a time, that of a triggered one may be a day.
            runs = {run: (run.partition_key or "")[:10] for run in self.client.snapshot(start).runs}
            runs = {run: day for run, day in runs.items() if day in wanted}
            for run in runs:
                assert run.state != "failed", f"{run.title} failed.\n{self.last_task_log(run)}"
            done = {day for run, day in runs.items() if run.dag_id == dag_id and run.state == "success"}
            if done == wanted:
                return
            if time.monotonic() > end:
                logs = "\n".join(self.last_task_log(run) for run in runs if not run.ended)
                raise AssertionError(f"Waited {seconds:.0f} s for {dag_id} of {sorted(wanted - done)}.\n{logs}")
            time.sleep(_POLL_SECONDS)

    def last_task_log(self, run: Run) -> str:
        """Return the end of the log of the run's task that failed or, if none did, of the one that runs."""
        tasks = [task for task in self.client.snapshot(run.created).tasks if task.run_id == run.run_id]
        chosen = [task for state in ("failed", "up_for_retry", "running") for task in tasks if task.state == state]
        if not chosen:
            return f"No task of {run.title} failed or runs: {[(task.title, task.state) for task in tasks]}"
        try:
            lines = self.client.task_log_tail(chosen[0], _LOG_LINES)
        except ApiError as error:
            lines = [str(error)]
        return "\n".join([f"The log of {chosen[0].title} ends:", *lines])

    def processes(self) -> list[psutil.Process]:
        """Return all processes of this stack, also detached ones.

        A process is found by its session or by its environment: Airflow's servers overwrite their environment with a
        title, and PostgreSQL leaves the session.
        """
        session = self.stack.supervisor.pid()
        return [process for process in psutil.process_iter() if self._owns(process, session)]

    def _owns(self, process: psutil.Process, session: int | None) -> bool:
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session:
                return True
            return bool(process.environ().get("CHURN_HOME") == self.variables["CHURN_HOME"])
        return False


@pytest.fixture(scope="package")
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty folder that PostgreSQL can use, see ``tests/postgres.py``. After a failure it is kept for its logs."""
    folder = Path(tempfile.mkdtemp(prefix="churnflow-e2e-"))
    request.config.stash[LOG_FOLDERS].append(folder)
    yield folder
    if not request.session.testsfailed:
        shutil.rmtree(folder)


@pytest.fixture(scope="package")
def stack(folder: Path) -> Iterator[RunningStack]:
    """A healthy stack on free ports. The path of its home is longer than the limit for a socket."""
    home = folder / ("home-" + "x" * 100)
    home.mkdir()
    ports = free_ports(3)
    variables = {
        "CHURN_HOME": str(home),
        "CHURN_LOCAL_AIRFLOW_PORT": str(ports[0]),
        "CHURN_LOCAL_MLFLOW_PORT": str(ports[1]),
        "CHURN_SERVING__PORT": str(ports[2]),
    }
    settings = Settings(home=home, serving=ServingSettings(port=ports[2]))
    own = Stack(settings, LocalPorts(airflow_port=ports[0], mlflow_port=ports[1]))
    client = AirflowClient(own.airflow_url)
    running = RunningStack(own, client, variables)
    try:
        up = running.run(".venv/bin/python", "-m", "local", "up")
        assert up.returncode == 0, up.stdout + up.stderr
        yield running
    finally:
        client.close()
        before = running.processes()
        down = running.run(".venv/bin/python", "-m", "local", "down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert running.processes() == []
    assert psutil.wait_procs(before, timeout=30)[1] == []


@pytest.fixture(scope="package")
def demo(stack: RunningStack) -> RunningStack:
    """The stack in the state in which ``make demo`` leaves it, except that churn_monitor is paused.

    The demo monitors two days. Runs for further days would take half a minute each and prove the same.
    """
    done = stack.run(".venv/bin/python", "-m", "local", "demo", timeout=LIMIT_SECONDS + 300)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-2000:]}"
    stack.client.pause("churn_monitor")
    return stack


@pytest.fixture(scope="package")
def versions(demo: RunningStack) -> tuple[str, str]:
    """The champion, and a copy of it as the next version of the model."""
    registry = Registry(demo.stack.settings)
    champion = registry.require("champion")
    client = mlflow.MlflowClient(demo.stack.mlflow_url)
    known = client.get_model_version(registry.name, champion)
    # The provenance of a run names its version, so the copy is a version of another run, without a provenance.
    run_id = client.create_run(client.get_run(known.run_id).info.experiment_id).info.run_id
    with tempfile.TemporaryDirectory() as folder:
        files = Path(client.download_artifacts(known.run_id, "", folder))
        (files / PROVENANCE_FILE).unlink()
        client.log_artifacts(run_id, str(files))
    return champion, registry.register(known.source, run_id, {})
