"""A client for the part of Airflow's REST API that the demo and the end-to-end tests use."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import httpx
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_attempt, wait_exponential

from include.errors import ChurnflowError

_PAGE_SIZE = 100
_TRACEBACK_FRAMES = 5


class ApiError(ChurnflowError):
    """Airflow does not respond, or responds with an error."""


@dataclass(frozen=True)
class Run:
    """A run of a DAG.

    Attributes:
        dag_id: The DAG.
        run_id: The run.
        state: ``queued``, ``running``, ``success`` or ``failed``.
        partition_key: The day that the run is for; None for a run without a partition.
        created: The time of creation on Airflow's clock.
    """

    dag_id: str
    run_id: str
    state: str
    partition_key: str | None
    created: dt.datetime

    @property
    def ended(self) -> bool:
        """Whether the run succeeded or failed."""
        return self.state in ("success", "failed")

    @property
    def title(self) -> str:
        """A readable name of the run."""
        return f"{self.dag_id} of {self.partition_key or 'no day'}"


@dataclass(frozen=True)
class Task:
    """A task of a run.

    Attributes:
        dag_id: The DAG.
        run_id: The run.
        task_id: The task.
        state: Airflow's task state; None before the task is scheduled.
        attempt: The try number, from 1; 0 before the first try.
        seconds: The duration of the current try; None before it starts.
        ended: The end of the current try on Airflow's clock.
        map_index: The index of an instance of a mapped task, from 0; -1 for a task that is not mapped.
        instance_id: Airflow's id of the current try, which the title of the task's process contains.
        hostname: The name of the machine or container of the current try; empty before it starts.
    """

    dag_id: str
    run_id: str
    task_id: str
    state: str | None
    attempt: int
    seconds: float | None
    ended: dt.datetime | None
    map_index: int = -1
    instance_id: str = ""
    hostname: str = ""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """The unique key of the task instance."""
        return self.dag_id, self.run_id, self.task_id, self.map_index

    @property
    def name(self) -> str:
        """A readable name of the task within its run."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    @property
    def title(self) -> str:
        """A readable name of the task with its DAG."""
        return f"{self.dag_id}.{self.name}"


@dataclass(frozen=True)
class Snapshot:
    """Runs and their tasks, including every task that existed when the runs were read."""

    runs: tuple[Run, ...] = ()
    tasks: tuple[Task, ...] = ()

    def of_partition(self, key: str | None) -> Snapshot:
        """Return the runs for a day, and their tasks.

        Args:
            key: The partition key of the runs.
        """
        runs = tuple(run for run in self.runs if run.partition_key == key)
        known = {(run.dag_id, run.run_id) for run in runs}
        return Snapshot(runs, tuple(task for task in self.tasks if (task.dag_id, task.run_id) in known))


@dataclass(frozen=True)
class Link:
    """An asset between DAGs: when the task succeeds, the DAG ``consumer`` runs for the same day."""

    dag_id: str
    task_id: str
    consumer: str


class AirflowClient:
    """A client for an Airflow with the simple auth manager.

    Args:
        url: The base URL of Airflow.
        attempts: The number of attempts per call while Airflow is unreachable.
        password: The password of the user ``admin``; None for the local stack, which needs no password.
    """

    def __init__(self, url: str, attempts: int = 6, password: str | None = None) -> None:
        self.url = url
        self._password = password
        # trust_env=False: a proxy from the environment does not apply to 127.0.0.1.
        self._http = httpx.Client(base_url=url, timeout=30.0, trust_env=False, headers={"Accept": "application/json"})
        self._attempts = attempts

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def dags(self) -> dict[str, bool]:
        """Return for each DAG whether it is paused."""
        return {item["dag_id"]: item["is_paused"] for item in self._list("/dags", "dags")}

    def import_errors(self) -> dict[str, str]:
        """Return the traceback for each DAG file that cannot be imported."""
        return {item["filename"]: item["stack_trace"] for item in self._list("/importErrors", "import_errors")}

    def unpause(self, dag_id: str) -> None:
        """Unpause a DAG, so that Airflow starts its runs."""
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def pause(self, dag_id: str) -> None:
        """Pause a DAG, so that Airflow starts no runs of it, and drops events that would trigger a run."""
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": True})

    def links(self) -> list[Link]:
        """Return the assets that connect a task to a DAG."""
        return [
            Link(producer["dag_id"], producer["task_id"], consumer["dag_id"])
            for asset in self._list("/assets", "assets")
            for producer in asset["producing_tasks"]
            for consumer in asset["scheduled_dags"]
        ]

    def trigger(self, dag_id: str, partition_key: str | None, conf: dict[str, Any]) -> Run:
        """Create a run and return it.

        Args:
            dag_id: The DAG.
            partition_key: The day that the run is for; None for a run without a partition.
            conf: The values of the DAG's params.

        Raises:
            ApiError: Airflow rejects the DAG, the key or the params.
        """
        body = {"logical_date": None, "partition_key": partition_key, "conf": conf}
        return _run(self._call("POST", f"/dags/{dag_id}/dagRuns", json=body))

    def unfinished_runs(self) -> list[Run]:
        """Return all queued and running runs."""
        return [_run(item) for item in self._list("/dags/~/dagRuns", "dag_runs", {"state": ["queued", "running"]})]

    def fail(self, run: Run) -> None:
        """Mark a run and its tasks as failed."""
        self._call("PATCH", f"/dags/{run.dag_id}/dagRuns/{run.run_id}", json={"state": "failed"})

    def snapshot(self, since: dt.datetime) -> Snapshot:
        """Return all runs created at or after ``since``, and their tasks."""
        created = {"run_after_gte": since.isoformat()}
        # Reading the runs first ensures that no task of a run is missing.
        runs = [_run(item) for item in self._list("/dags/~/dagRuns", "dag_runs", created)]
        known = {(run.dag_id, run.run_id) for run in runs}
        tasks = [_task(item) for item in self._list("/dags/~/dagRuns/~/taskInstances", "task_instances", created)]
        return Snapshot(tuple(runs), tuple(task for task in tasks if (task.dag_id, task.run_id) in known))

    def task_log_tail(self, task: Task, lines: int = 30) -> list[str]:
        """Return the end of the log of a task's current try.

        Args:
            task: The task.
            lines: The number of lines.
        """
        body = self._call(
            "GET",
            f"/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances/{task.task_id}/logs/{task.attempt}",
            params={"full_content": True, "map_index": task.map_index},
        )
        return [line for item in body["content"] for line in _log_lines(item)][-lines:]

    def _list(self, path: str, name: str, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        while True:
            body = self._call("GET", path, params={**(params or {}), "limit": _PAGE_SIZE, "offset": len(items)})
            items += body[name]
            if not body[name] or len(items) >= body["total_entries"]:
                return items

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        if "Authorization" not in self._http.headers:
            token = self._body(self._request_token())["access_token"]
            self._http.headers["Authorization"] = f"Bearer {token}"  # valid for a day
        return self._body(self._send(method, f"/api/v2{path}", **arguments))

    def _request_token(self) -> httpx.Response:
        if self._password is None:
            return self._send("GET", "/auth/token")
        return self._send("POST", "/auth/token", json={"username": "admin", "password": self._password})

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        # A POST creates a run, so it is not repeated after the server may have received it. The other calls can be
        # repeated: Airflow responds with 500 when its transaction and that of the scheduler deadlock.
        repeatable = method != "POST"
        transient = httpx.TransportError if repeatable else httpx.ConnectError
        retrying = Retrying(
            retry=retry_if_exception_type(transient)
            | retry_if_result(lambda response: repeatable and response.is_server_error),
            stop=stop_after_attempt(self._attempts),
            wait=wait_exponential(multiplier=0.2, max=5),
            retry_error_callback=lambda last: last.outcome.result() if last.outcome else None,
        )
        try:
            return retrying(self._http.request, method, path, **arguments)
        except httpx.TransportError as error:
            raise ApiError(
                f"Airflow does not respond ({type(error).__name__}).",
                where=f"{method} {self.url}{path}",
                remedy="Check with `make status` that it runs, and read its logs.",
            ) from error

    def _body(self, response: httpx.Response) -> dict[str, Any]:
        if response.is_success:
            body: dict[str, Any] = response.json()
            return body
        raise ApiError(
            f"Airflow responded with {response.status_code}: {_reason(response)}",
            where=f"{response.request.method} {response.request.url}",
            remedy="Correct the request, or read the log of the api-server.",
        )


def _run(item: dict[str, Any]) -> Run:
    created = dt.datetime.fromisoformat(item["run_after"])
    return Run(item["dag_id"], item["dag_run_id"], item["state"], item["partition_key"], created)


def _task(item: dict[str, Any]) -> Task:
    ended = dt.datetime.fromisoformat(item["end_date"]) if item["end_date"] else None
    return Task(
        dag_id=item["dag_id"],
        run_id=item["dag_run_id"],
        task_id=item["task_id"],
        state=item["state"],
        attempt=item["try_number"],
        seconds=item["duration"],
        ended=ended,
        map_index=item["map_index"],
        instance_id=item["id"],
        hostname=item["hostname"] or "",
    )


def _log_lines(item: dict[str, Any] | str) -> list[str]:
    if isinstance(item, str):
        return item.splitlines()
    # The group markers only control folding in the UI.
    lines = [line for line in str(item["event"]).splitlines() if not line.startswith(("::group::", "::endgroup::"))]
    for detail in item.get("error_detail") or []:
        lines += [
            f"  {frame['filename']}:{frame['lineno']} in {frame['name']}"
            for frame in (detail.get("frames") or [])[-_TRACEBACK_FRAMES:]
        ]
        lines.append(f"{detail.get('exc_type')}: {detail.get('exc_value')}")
    return lines


def _reason(response: httpx.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return response.text[:300]
    detail = body.get("detail", body) if isinstance(body, dict) else body
    return str(detail)[:300]
