"""Run the grocery chain in the containers of ``docker-compose.yaml``: ``make compose-test``.

The whole project starts with its own volumes, secrets and ports. The history is ingested under Celery; while the model
is trained, the container of the worker that trains is killed, and another worker has to repeat the task. Then clients
send requests to the endpoint without a pause while a second version is trained, deployed, and rolled back, and while
the next day is ingested and scored. The last line is
``{"containers", "healthy", "chain_ok", "worker_killed", "failed_requests"}``; the container that prepares the database
has ended, and is not counted.

Images that cannot be pulled are replaced by images with the same programs from Debian and PyPI. A service without such
an image is left out, and the second-last line names it.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx
from rich.console import Console

from benchmarks.compose.project import ComposeProject
from benchmarks.figures import print_figures
from benchmarks.timelapse.requests import Requests
from include.days import DayRange
from include.errors import ChurnflowError
from include.settings import get_settings
from local import chain
from local.client import AirflowClient, Run, Task
from local.containers.engine import find_engine
from local.demo import HISTORY, NEXT_DAY, Demo
from local.grocery_export import LAST_DAY, export

T = TypeVar("T")
NAME = "churnflow-test"
_LIMIT_SECONDS = 45 * 60.0
_POLL_SECONDS = 1.0
_TASKS = ("tune", "train")
"""The tasks in whose first try the worker is killed."""
_TRAINING_SECONDS = 3.0
"""The time from the start of the task to the end of its worker."""
_CUSTOMERS = 200
_READ_CUSTOMERS = f"""
import datetime as dt, json
from include.lake import open_lake
from include.lake.table_names import SCORES_TABLE
from include.settings import get_settings
rows = open_lake(get_settings()).table(SCORES_TABLE).read([dt.date.fromisoformat("{HISTORY.last}")])
print(json.dumps(rows["customer_id"].to_pylist()[:{_CUSTOMERS}]))
"""


class ComposeTestError(ChurnflowError):
    """An expected event did not happen in time."""


class ComposeTest:
    """The steps of the test, on a running project.

    Args:
        project: The project.
        client: The client of its Airflow.
    """

    def __init__(self, project: ComposeProject, client: AirflowClient) -> None:
        self._project = project
        self._client = client
        self._deadline = time.monotonic() + _LIMIT_SECONDS
        self._demo = Demo(client, Console(stderr=True), self._deadline)
        self.killed: Task | None = None
        self.seconds_to_retry = 0.0

    @property
    def endpoint(self) -> str:
        """The base address of the endpoint."""
        return f"http://127.0.0.1:{self._project.variables['ENDPOINT_PORT']}"

    def run_history(self) -> None:
        """Ingest the history, and kill the worker that trains the model."""
        self._demo.prepare()
        first = self._demo.start(HISTORY)
        task = self._wait_for(lambda: self._training_task(first), "a running training")
        time.sleep(_TRAINING_SECONDS)
        (container,) = [id_ for id_ in self._project.containers("airflow-worker") if id_.startswith(task.hostname)]
        self._project.engine.run("kill", container)
        killed = time.monotonic()
        self.killed = task
        self._wait_for(lambda: self._retried(first, task), "the retry of the killed task")
        self.seconds_to_retry = round(time.monotonic() - killed, 1)
        self._project.engine.run("start", container)
        self._demo.wait(first, ("churn_ingest", "churn_train", "churn_deploy", "churn_score", "churn_monitor"))

    def swap_models(self) -> Requests:
        """Send requests while a second version is trained, deployed and rolled back, and return the clients."""
        day = str(HISTORY.last)
        self._client.unpause("churn_rollback")
        with Requests(self.endpoint, self._customers()) as requests:
            self._run("churn_train", day, {})
            self._run("churn_deploy", day, {"model_version": "2"})
            self._expect_version("2")
            self._run("churn_rollback", None, {})
            self._expect_version("1")
            self._demo.run(DayRange.single(NEXT_DAY), ("churn_ingest", "churn_score", "churn_monitor"))
        return requests

    def _run(self, dag_id: str, key: str | None, conf: dict[str, str]) -> None:
        """Run a DAG, and wait until it and the runs that it triggers are complete."""
        run = self._client.trigger(dag_id, key, conf)
        self._wait_for(lambda: self._has_ended(run), f"the end of {dag_id}")
        self._wait_for(lambda: not self._client.unfinished_runs(), "the end of all runs")
        failed = chain.failures(self._client.snapshot(run.created))
        if failed:
            raise ComposeTestError(f"{failed[0].title} failed.", where=NAME, remedy="Read its log.")

    def _has_ended(self, run: Run) -> bool:
        return any(item.ended for item in self._client.snapshot(run.created).runs if item.run_id == run.run_id)

    def _expect_version(self, version: str) -> None:
        def serves() -> bool:
            return bool(httpx.get(f"{self.endpoint}/health", timeout=5).json()["model_version"] == version)

        self._wait_for(serves, f"model version {version}")

    def _training_task(self, first: Run) -> Task | None:
        for task in self._client.snapshot(first.created).tasks:
            if task.task_id in _TASKS and task.state == "running" and task.hostname:
                return task
        return None

    def _retried(self, first: Run, task: Task) -> bool:
        tasks = self._client.snapshot(first.created).tasks
        return any(item.key == task.key and item.attempt > task.attempt for item in tasks)

    def _customers(self) -> list[str]:
        """Return customers of the last retention list; their features are in the online store."""
        output = self._project.execute("airflow-scheduler", "python", "-c", _READ_CUSTOMERS)
        customers: list[str] = json.loads(output.splitlines()[-1])
        return customers

    def _wait_for(self, find: Callable[[], T | None], what: str) -> T:
        while not (found := find()):
            if time.monotonic() > self._deadline:
                raise ComposeTestError(f"No event: {what}.", where=NAME, remedy="Read the logs of the containers.")
            time.sleep(_POLL_SECONDS)
        return found


def main() -> None:
    """Print the figures as one JSON object on the last line."""
    engine = find_engine(get_settings().home / "containers")
    with tempfile.TemporaryDirectory(prefix="churnflow-compose-") as name:
        landing = Path(name) / "landing"
        project = ComposeProject(engine, NAME, Path(name), landing)
        export(landing / "grocery", DayRange(HISTORY.first, LAST_DAY))
        project.prepare_images()
        with project.running():
            url = f"http://127.0.0.1:{project.variables['AIRFLOW_PORT']}"
            client = AirflowClient(url, password=project.variables["AIRFLOW_ADMIN_PASSWORD"])
            test = ComposeTest(project, client)
            test.run_history()
            requests = test.swap_models()
            health = project.health()
    figures = {
        "containers": sum(len(containers) for containers in health.values()),
        "healthy": sum(sum(containers) for containers in health.values()),
        "chain_ok": True,
        "worker_killed": test.killed is not None,
        "failed_requests": requests.failed.total(),
    }
    details = {
        "engine": engine.name,
        "left_out": project.left_out,
        "health": health,
        "requests": requests.sent,
        "answers": dict(requests.answers),
        "failed": dict(requests.failed),
        "seconds_to_retry": test.seconds_to_retry,
    }
    print_figures("compose", figures, details)


if __name__ == "__main__":
    main()
