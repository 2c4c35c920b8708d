"""What the demo asks of Airflow's REST API."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from include.errors import ChurnflowError

_PAGE = 100
_FRAMES = 5


class ApiError(ChurnflowError):
    """Airflow does not answer, or refuses."""


@dataclass(frozen=True)
class Run:
    """A run of a DAG.

    Attributes:
        dag_id: The DAG.
        run_id: The run.
        state: ``queued``, ``running``, ``success`` or ``failed``.
        partition_key: The day that it is for; None for a run without one.
        created: When it was created, by Airflow's clock.
    """

    dag_id: str
    run_id: str
    state: str
    partition_key: str | None
    created: dt.datetime

    @property
    def ended(self) -> bool:
        """Whether no more of it will run."""
        return self.state in ("success", "failed")

    @property
    def title(self) -> str:
        """The run, for people."""
        return f"{self.dag_id} of {self.partition_key or 'no day'}"


@dataclass(frozen=True)
class Task:
    """A task of a run.

    Attributes:
        dag_id: The DAG.
        run_id: The run.
        task_id: The task.
        state: Airflow's word for it; None before it is scheduled.
        attempt: The number of the try, from 1; 0 before the first.
        seconds: How long the try has taken; None before it starts.
        ended: When it ended, by Airflow's clock.
        map_index: Which one it is of those that a mapped task becomes, from 0; -1 for any other task.
    """

    dag_id: str
    run_id: str
    task_id: str
    state: str | None
    attempt: int
    seconds: float | None
    ended: dt.datetime | None
    map_index: int = -1

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells it from every other task."""
        return self.dag_id, self.run_id, self.task_id, self.map_index

    @property
    def name(self) -> str:
        """The task within its run, for people."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"

    @property
    def title(self) -> str:
        """The task, for people."""
        return f"{self.dag_id}.{self.name}"


@dataclass(frozen=True)
class Snapshot:
    """Runs and their tasks at one moment; every task that was there when the runs were read is in it."""

    runs: tuple[Run, ...] = ()
    tasks: tuple[Task, ...] = ()


@dataclass(frozen=True)
class Link:
    """An asset between DAGs: when the task ends well, the consumer gets a run for the same day."""

    dag_id: str
    task_id: str
    consumer: str


class AirflowClient:
    """A client of the stack's own Airflow, which gives a token to anyone on this machine.

    Args:
        url: Airflow's base address.
        attempts: How often a call is tried while Airflow cannot be reached.
    """

    def __init__(self, url: str, attempts: int = 6) -> None:
        self.url = url
        # A proxy of the environment is for the outside world.
        self._http = httpx.Client(base_url=url, timeout=30.0, trust_env=False)
        self._attempts = attempts
        self._token: str | None = None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def dags(self) -> dict[str, bool]:
        """Return the DAGs that Airflow knows, and for each whether it is paused."""
        return {item["dag_id"]: item["is_paused"] for item in self._list("/dags", "dags")}

    def import_errors(self) -> dict[str, str]:
        """Return the DAG files that cannot be imported, each with its traceback."""
        return {item["filename"]: item["stack_trace"] for item in self._list("/importErrors", "import_errors")}

    def unpause(self, dag_id: str) -> None:
        """Let Airflow start the DAG's runs."""
        self._call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def links(self) -> list[Link]:
        """Return which task's success starts a run of which DAG."""
        return [
            Link(producer["dag_id"], producer["task_id"], consumer["dag_id"])
            for asset in self._list("/assets", "assets")
            for producer in asset["producing_tasks"]
            for consumer in asset["scheduled_dags"]
        ]

    def trigger(self, dag_id: str, partition_key: str, conf: dict[str, Any]) -> Run:
        """Start a run for one partition, and return it.

        Raises:
            ApiError: Airflow refuses the DAG, the key or the configuration; the message says why.
        """
        body = {"logical_date": None, "partition_key": partition_key, "conf": conf}
        return _run(self._call("POST", f"/dags/{dag_id}/dagRuns", json=body))

    def unfinished_runs(self) -> list[Run]:
        """Return all runs that are queued or running."""
        return [_run(item) for item in self._list("/dags/~/dagRuns", "dag_runs", {"state": ["queued", "running"]})]

    def fail(self, run: Run) -> None:
        """End a run as failed, with its tasks."""
        self._call("PATCH", f"/dags/{run.dag_id}/dagRuns/{run.run_id}", json={"state": "failed"})

    def snapshot(self, since: dt.datetime) -> Snapshot:
        """Return all runs created at ``since`` or later, and their tasks."""
        created = {"run_after_gte": since.isoformat()}
        # In this order, no task of a run is missed.
        runs = [_run(item) for item in self._list("/dags/~/dagRuns", "dag_runs", created)]
        known = {(run.dag_id, run.run_id) for run in runs}
        tasks = [_task(item) for item in self._list("/dags/~/dagRuns/~/taskInstances", "task_instances", created)]
        return Snapshot(tuple(runs), tuple(task for task in tasks if (task.dag_id, task.run_id) in known))

    def task_log_tail(self, task: Task, lines: int = 30) -> list[str]:
        """Return the last lines of a task's log."""
        body = self._call(
            "GET",
            f"/dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances/{task.task_id}/logs/{task.attempt}",
            params={"full_content": True, "map_index": task.map_index},
        )
        return [line for item in body["content"] for line in _log_lines(item)][-lines:]

    def _list(self, path: str, name: str, params: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        while True:
            body = self._call("GET", path, params={**(params or {}), "limit": _PAGE, "offset": len(items)})
            items += body[name]
            if not body[name] or len(items) >= body["total_entries"]:
                return items

    def _call(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        response = self._authorized(method, path, **arguments)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._token = None
            response = self._authorized(method, path, **arguments)
        return self._body(response)

    def _authorized(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        if self._token is None:
            self._token = str(self._body(self._send("GET", "/auth/token"))["access_token"])
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        return self._send(method, f"/api/v2{path}", headers=headers, **arguments)

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        # A request that may have arrived is only repeated when that changes nothing.
        passing = httpx.TransportError if method == "GET" else httpx.ConnectError
        retrying = Retrying(
            retry=retry_if_exception_type(passing),
            stop=stop_after_attempt(self._attempts),
            wait=wait_exponential(multiplier=0.2, max=5),
            reraise=True,
        )
        try:
            return retrying(self._http.request, method, path, **arguments)
        except httpx.TransportError as error:
            raise ApiError(
                f"Airflow gave no answer ({type(error).__name__}).",
                where=f"{method} {self.url}{path}",
                remedy="See with `make status` whether it runs, and read its logs.",
            ) from error

    def _body(self, response: httpx.Response) -> dict[str, Any]:
        if response.is_success:
            body: dict[str, Any] = response.json()
            return body
        raise ApiError(
            f"Airflow answered {response.status_code}: {_reason(response)}",
            where=f"{response.request.method} {response.request.url}",
            remedy="Correct the request, or read the api-server's log.",
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
    )


def _log_lines(item: dict[str, Any] | str) -> list[str]:
    if isinstance(item, str):
        return item.splitlines()
    # The marks with which the UI folds parts of a log say nothing here.
    lines = [line for line in str(item["event"]).splitlines() if not line.startswith(("::group::", "::endgroup::"))]
    for detail in item.get("error_detail") or []:
        lines += [
            f"  {frame['filename']}:{frame['lineno']} in {frame['name']}"
            for frame in (detail.get("frames") or [])[-_FRAMES:]
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
