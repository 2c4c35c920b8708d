"""Kills and faults of DAG runs on a local stack: lost runs, messages and useless retries.

The Slack receiver first answers 429 and 500, so that the first message needs two retries.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psutil

from benchmarks.attacks.scratch_stack import DAYS, NEXT_DAY, ScratchStack, scratch_stack
from benchmarks.figures import report
from include.days import DayRange
from include.ingest import ingest_days
from include.serving.deployment.state import ServingState
from include.training.release.registry import Registry
from local.client import Run, Task
from local.supervision import wait_until

Value = TypeVar("Value")

_DAGS = 8
_RUN_SECONDS = 600.0
_MESSAGE_SECONDS = 60.0
_POLL_SECONDS = 0.05
_TASK_TITLE = "airflow worker -- "
"""The title of a task's process is this text and the id of the try."""
_NO_RETRY = "a retry cannot help"
"""The retry policy writes this text to a task's log when it ends the tries of a task."""


@dataclass
class Case:
    """A kill or a fault, the runs that it affects, and the results of the checks.

    Attributes:
        name: The name of the case.
        expected: The final states that its runs must have.
        kills: The number of kills and faults.
        runs: The runs.
        checks: Further conditions that must be true after the runs.
    """

    name: str
    expected: list[str]
    kills: int = 1
    runs: list[Run] = field(default_factory=list)
    checks: dict[str, bool] = field(default_factory=dict)


class Attack:
    """Kills and faults on a stack.

    Args:
        scratch: The stack.
    """

    def __init__(self, scratch: ScratchStack) -> None:
        self._scratch = scratch
        self._client = scratch.client
        self._state = ServingState(scratch.settings.serving_dir)
        self._registry = Registry(scratch.settings)
        self._start = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)

    def cases(self) -> Iterator[Case]:
        """Run the cases in order; each depends on the state after the previous case."""
        first, second = self._scratch.versions
        self._client.pause("churn_monitor")
        yield self.deployment_without_a_day(first)
        yield self._invalid_days()
        yield self._superseded_deployment(first, second, "build_bento")
        yield self._superseded_deployment(first, second, "roll_out")
        yield self._two_rollbacks(first, second)
        yield self._suspended_mlflow(second)
        yield self.killed_task("churn_score", "score_customers", tries=1)
        yield self._lost_events()
        yield self.killed_task("churn_monitor", "collect_predictions", tries=2)
        yield self.killed_task("churn_monitor", "monitor_day", tries=2)

    def evaluate(self, case: Case) -> dict[str, Any]:
        """Return the figures of a case whose runs have ended or exceeded the time limit."""
        runs = [self._newest(run) for run in case.runs]
        messages = {run.run_id: self._messages(run, 1 if run.state == "failed" else 0) for run in runs}
        tasks = [task for run in runs for task in self._tasks(run) if task.state == "failed" and task.attempt > 1]
        return {
            "case": case.name,
            "kills": case.kills,
            "states": [run.state for run in runs],
            "as_expected": sorted(run.state for run in runs) == sorted(case.expected) and all(case.checks.values()),
            "checks": case.checks,
            "messages": list(messages.values()),
            "lost_runs": sum(not run.ended or (run.state == "failed" and not messages[run.run_id]) for run in runs),
            "alerted_once": sum(run.state == "failed" and messages[run.run_id] == 1 for run in runs),
            "retried_in_vain": [task.title for task in tasks if self._ended_without_retry(task)],
        }

    def deployment_without_a_day(self, version: str) -> Case:
        """Deploy a version, and wait for the list that is scored with it.

        Args:
            version: The version of the model.
        """
        case = Case("a manual deployment without a day", ["success", "success"])
        deployment = self._trigger(case, "churn_deploy", model_version=version)
        self._wait_for_end(deployment)
        case.runs.append(self._follower("churn_score", deployment, str(DAYS.last)))
        self._wait_for_end(case.runs[-1])
        case.checks["the version serves"] = self._serves(version)
        return case

    def _invalid_days(self) -> Case:
        case = Case("days that contradict each other or do not exist", ["failed"] * 4, kills=4)
        self._trigger(case, "churn_ingest", from_day=str(DAYS.first))
        self._trigger(case, "churn_ingest", key=str(DAYS.last), to_day=str(DAYS.first))
        self._trigger(case, "churn_deploy", model_version=self._scratch.versions[1], day="2018-06-01")
        self._trigger(case, "churn_score")
        self._wait_for_end(*case.runs)
        case.checks["the version serves"] = self._serves(self._scratch.versions[0])
        return case

    def _lost_events(self) -> Case:
        case = Case("events that were lost while a DAG was paused", ["success"] * 4)
        ingest_days(self._scratch.settings, DayRange.single(NEXT_DAY))  # emits no event
        self._client.unpause("churn_monitor")
        maintenance = self._trigger(case, "churn_maintenance")
        for dag_id, day in (("churn_monitor", DAYS.last), ("churn_score", NEXT_DAY), ("churn_monitor", NEXT_DAY)):
            case.runs.append(self._follower(dag_id, maintenance, str(day)))
            self._wait_for_end(case.runs[-1])
        return case

    def _superseded_deployment(self, first: str, second: str, during: str) -> Case:
        case = Case(f"a rollback during {during} of a deployment", ["failed", "success"])
        deployment = self._trigger(case, "churn_deploy", model_version=second, day=str(DAYS.last))
        self._wait_until_running(deployment, during)
        self._trigger(case, "churn_rollback", model_version=first)
        self._wait_for_end(*case.runs)
        return self._check_served(case, first)

    def _two_rollbacks(self, first: str, second: str) -> Case:
        case = Case("two rollbacks at the same time", ["success", "success", "success"])
        self._wait_for_end(self._trigger(case, "churn_deploy", model_version=second, day=str(DAYS.last)))
        case.checks["the second version serves before"] = self._serves(second)
        for _ in range(2):
            self._trigger(case, "churn_rollback")
        self._wait_for_end(*case.runs)
        return self._check_served(case, first)

    def _suspended_mlflow(self, second: str) -> Case:
        case = Case("MLflow suspended during a rollback and a deployment", ["failed", "failed"])
        with suspended(_processes(f"--port {self._scratch.stack.ports.mlflow_port}")):
            self._trigger(case, "churn_rollback", model_version=second)
            self._trigger(case, "churn_deploy", model_version=second, day=str(DAYS.last))
            self._wait_for_end(*case.runs)
        case.checks["the endpoint is rolled back"] = self._serves(second)
        return case

    def killed_task(self, dag_id: str, task_id: str, tries: int) -> Case:
        """Kill tries of a task with SIGKILL, and wait for the end of its run.

        Args:
            dag_id: The DAG.
            task_id: The task.
            tries: The number of tries to kill; a task has 2.
        """
        expected = "success" if tries == 1 else "failed"
        case = Case(f"{task_id} killed {tries} times", [expected], kills=tries)
        run = self._trigger(case, dag_id, key=str(DAYS.last))
        killed: list[str] = []
        for _ in range(tries):
            killed.append(self._kill_next_try(run, task_id, killed))
        self._wait_for_end(run)
        return case

    def _trigger(self, case: Case, dag_id: str, key: str | None = None, **conf: str) -> Run:
        case.runs.append(self._client.trigger(dag_id, key, conf))
        return case.runs[-1]

    def _follower(self, dag_id: str, run: Run, day: str) -> Run:
        """Return the first run of a DAG for a day that was created after another run."""
        wanted = (dag_id, day)

        def find() -> Run | None:
            runs = self._client.snapshot(run.created).runs
            return next((found for found in runs if (found.dag_id, (found.partition_key or "")[:10]) == wanted), None)

        return _await(find)

    def _newest(self, run: Run) -> Run:
        return next(found for found in self._client.snapshot(self._start).runs if found.run_id == run.run_id)

    def _tasks(self, run: Run) -> list[Task]:
        return [task for task in self._client.snapshot(self._start).tasks if task.run_id == run.run_id]

    def _wait_for_end(self, *runs: Run) -> None:
        with suppress(TimeoutError):  # ``evaluate`` counts a run that has not ended as lost
            _await(lambda: all(self._newest(run).ended for run in runs) or None)

    def _wait_until_running(self, run: Run, task_id: str) -> None:
        wanted = (task_id, "running")
        _await(lambda: wanted in [(task.task_id, task.state) for task in self._tasks(run)] or None)

    def _kill_next_try(self, run: Run, task_id: str, killed: list[str]) -> str:
        """Send SIGKILL to the process of a task's next try, and return the id of the try.

        A try can end before the API returns its id. Each new task process is therefore suspended until its task is
        known.

        Args:
            run: The run.
            task_id: The task.
            killed: The ids of the tries that were killed before.
        """
        others = set(killed)

        def find() -> str | None:
            for process in _processes(_TASK_TITLE):
                found = " ".join(process.info["cmdline"]).rpartition(_TASK_TITLE)[2].strip(" \0")
                if found in others or found.startswith("LocalExecutor"):
                    continue
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
                    if found in [task.instance_id for task in self._tasks(run) if task.task_id == task_id]:
                        process.kill()
                        return found
                    process.resume()
                others.add(found)
            return None

        return _await(find)

    def _messages(self, run: Run, expected: int) -> int:
        """Return the number of messages about a run; wait until ``expected`` have arrived."""

        def count() -> int:
            return sum(run.run_id in text for text in self._scratch.receiver.texts)

        wait_until(lambda: count() >= expected, _MESSAGE_SECONDS, _POLL_SECONDS)
        return count()

    def _ended_without_retry(self, task: Task) -> bool:
        return any(_NO_RETRY in line for line in self._client.task_log_tail(task, 200))

    def _serves(self, version: str) -> bool:
        served = self._state.served()
        return served is not None and served.model_version == version

    def _check_served(self, case: Case, version: str) -> Case:
        case.checks["the version serves"] = self._serves(version)
        case.checks["the alias names it"] = self._registry.version_of("champion") == version
        return case


def run_kills() -> dict[str, Any]:
    """Start a local stack in a scratch home, run all cases, and return the figures.

    Returns:
        ``kills``: the number of kills and faults; ``lost_runs``: the number of runs that ended without a result and
        without a message, or have not ended; ``alerted_once``: the number of failed runs with exactly one message;
        ``retried_in_vain``: the number of task instances that were retried after an error that a retry cannot fix;
        ``details``: the figures of each case.
    """
    with scratch_stack() as scratch:
        _await(lambda: len(scratch.client.dags()) == _DAGS or None)
        attack = Attack(scratch)
        found = []
        for case in attack.cases():
            found.append(attack.evaluate(case))
            report(found[-1])
    return {
        **{key: sum(item[key] for item in found) for key in ("kills", "lost_runs", "alerted_once")},
        "retried_in_vain": sum(len(item["retried_in_vain"]) for item in found),
        "details": found,
    }


def _await(condition: Callable[[], Value | None]) -> Value:
    end = time.monotonic() + _RUN_SECONDS
    while (value := condition()) is None:
        if time.monotonic() > end:
            raise TimeoutError("a run, a task or a message did not arrive in time")
        time.sleep(_POLL_SECONDS)
    return value


@contextmanager
def suspended(processes: list[psutil.Process]) -> Iterator[None]:
    """Suspend processes and their children, and resume them at the end."""
    found = [child for process in processes for child in (process, *process.children(recursive=True))]
    for process in found:
        process.suspend()
    try:
        yield
    finally:
        for process in found:
            process.resume()


def _processes(text: str) -> list[psutil.Process]:
    """Return the processes with a text in their command line."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if text in " ".join(process.info["cmdline"] or []).replace("\0", " ")
    ]
