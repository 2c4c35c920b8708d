"""A stub of Airflow's REST API. Tests set the responses."""

from __future__ import annotations

import datetime as dt
import json
import threading
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.http_servers import StubHandler

START = dt.datetime(2026, 1, 1, 12, 0, tzinfo=dt.UTC)


def at(seconds: float) -> str:
    return (START + dt.timedelta(seconds=seconds)).isoformat()


def run_item(dag_id: str, state: str = "success", day: str = "2017-12-17", created: float = 0) -> dict[str, Any]:
    return {
        "dag_id": dag_id,
        "dag_run_id": f"run+{created}",
        "state": state,
        "partition_key": day,
        "run_after": at(created),
    }


def task_item(
    dag_id: str,
    task_id: str,
    state: str | None = "success",
    run: float = 0,
    ended: float | None = 1,
    attempt: int = 1,
    map_index: int = -1,
) -> dict[str, Any]:
    return {
        "dag_id": dag_id,
        "dag_run_id": f"run+{run}",
        "task_id": task_id,
        "state": state,
        "try_number": attempt,
        "duration": ended,
        "map_index": map_index,
        "hostname": None if attempt == 0 else "worker-1",
        "id": f"{dag_id}.{task_id}",
        "end_date": None if ended is None else at(ended),
    }


class AirflowServer:
    """Serve the stub. ``frames`` are successive states of (runs, tasks); the last state is repeated."""

    def __init__(self) -> None:
        self.tokens = 0
        self.drop_connections = 0
        self.server_errors = 0
        self.paused = {"churn_ingest": False}
        self.assets: list[dict[str, Any]] = []
        self.frames: list[tuple[list[dict[str, Any]], list[dict[str, Any]]]] = [([], [])]
        self.log: list[Any] = []
        self.import_errors: list[dict[str, str]] = []
        self.triggered: list[dict[str, Any]] = []
        self.ended: list[str] = []
        server = self

        class Handler(StubHandler):
            def respond(self) -> None:
                server.answer(self, self.command)

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()

    def answer(self, handler: StubHandler, method: str) -> None:
        if self.drop_connections:
            self.drop_connections -= 1
            handler.close_connection = True
            return
        body = handler.body()
        status, answer = self._route(handler, method, json.loads(body) if body else {})
        handler.answer(json.dumps(answer).encode(), status)

    def _route(self, handler: StubHandler, method: str, body: dict[str, Any]) -> tuple[int, Any]:
        url = urlsplit(handler.path)
        query, path = parse_qs(url.query), unquote(url.path)
        if self.server_errors:
            self.server_errors -= 1
            return 500, {"detail": "deadlock detected"}
        if path == "/auth/token":
            self.tokens += 1
            return 201, {"access_token": f"token-{self.tokens}"}
        if handler.headers.get("Authorization") != f"Bearer token-{self.tokens}":
            return 401, {"detail": "Invalid JWT token"}
        path = path.removeprefix("/api/v2")
        if path == "/dags/~/dagRuns":
            since = dt.datetime.fromisoformat(query.get("run_after_gte", [at(-1000)])[0])
            states = query.get("state")
            runs = [run for run in self.frames[0][0] if dt.datetime.fromisoformat(run["run_after"]) >= since]
            return 200, self._page("dag_runs", [run for run in runs if not states or run["state"] in states], query)
        if path == "/dags/~/dagRuns/~/taskInstances":
            tasks = self.frames[0][1]
            first_page = query["offset"] == ["0"]
            if first_page and len(self.frames) > 1:
                self.frames.pop(0)
            return 200, self._page("task_instances", tasks, query)
        if path == "/dags":
            return 200, self._page(
                "dags", [{"dag_id": name, "is_paused": paused} for name, paused in self.paused.items()], query
            )
        if path == "/assets":
            return 200, self._page("assets", self.assets, query)
        if path == "/importErrors":
            return 200, self._page("import_errors", self.import_errors, query)
        if "/logs/" in path:
            return 200, {"content": self.log, "continuation_token": None}
        return self._change(method, path, body)

    def _change(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        dag_id = path.split("/")[2]
        if dag_id not in self.paused:
            return 404, {"detail": f"Dag with dag_id: '{dag_id}' not found"}
        if method == "PATCH" and path.endswith(dag_id):
            self.paused[dag_id] = body["is_paused"]
            return 200, {}
        if method == "PATCH":
            self.ended.append(path.rsplit("/", 1)[1])
            return 200, {}
        self.triggered.append(body)
        return 200, run_item(dag_id, "queued", body["partition_key"])

    @staticmethod
    def _page(name: str, items: list[Any], query: dict[str, list[str]]) -> dict[str, Any]:
        limit, offset = int(query["limit"][0]), int(query["offset"][0])
        return {name: items[offset : offset + limit], "total_entries": len(items)}
