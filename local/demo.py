"""The demo: the whole chain on real data under Airflow's scheduler. It ingests the history, then one more day."""

from __future__ import annotations

import datetime as dt
import json
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console

from include.days import DayRange
from include.errors import ChurnflowError
from local import chain
from local.client import AirflowClient, ApiError, Run, Snapshot, Task
from local.grocery_export import LAST_DAY, export
from local.progress import display
from local.stack import Stack
from local.summary import Summary, collect, render

HISTORY = DayRange.parse("2017-01-01", "2017-12-17")
NEXT_DAY = dt.date(2017, 12, 18)
LIMIT_SECONDS = 20 * 60.0

_DAGS = ("churn_ingest", "churn_train", "churn_deploy", "churn_score", "churn_monitor")
_PARSE_SECONDS = 90.0
_POLL_SECONDS = 1.0
_LOG_LINES = 30
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_NO_FIGURES = dict.fromkeys(("auc", "pr_auc", "rows", "quarantined", "prediction", "drift"))


class DemoError(ChurnflowError):
    """A task failed, a run is missing, or the time limit was exceeded."""


class Demo:
    """Run the chain of DAGs on a running stack.

    Args:
        client: The client of the stack's Airflow.
        console: The console for progress.
        deadline: The time limit, on the clock of ``time.monotonic``.
    """

    def __init__(self, client: AirflowClient, console: Console, deadline: float) -> None:
        self._client = client
        self._console = console
        self._deadline = deadline

    def prepare(self) -> None:
        """Wait until Airflow has parsed the DAGs, and unpause them.

        Raises:
            DemoError: A DAG did not appear in time, for example because its file cannot be imported.
        """
        limit = min(self._deadline, time.monotonic() + _PARSE_SECONDS)
        while absent := sorted(set(_DAGS) - self._client.dags().keys()):
            if time.monotonic() > limit:
                raise DemoError(
                    f"Airflow did not find {', '.join(absent)}. {self._import_errors()}".rstrip(),
                    where="dags/",
                    remedy="Correct the file, or read the log of the dag-processor.",
                )
            time.sleep(_POLL_SECONDS)
        for dag_id, paused in self._client.dags().items():
            if paused and dag_id in _DAGS:
                self._client.unpause(dag_id)

    def fail_unfinished_runs(self) -> None:
        """Mark the runs of an interrupted demo as failed; otherwise they delay the new runs."""
        for run in self._client.unfinished_runs():
            self._client.fail(run)

    def run(self, days: DayRange, dag_ids: Sequence[str]) -> Snapshot:
        """Ingest ``days``, wait until all runs that this triggers are complete, and return them.

        Args:
            days: The days to ingest.
            dag_ids: The DAGs that must have a complete run.

        Raises:
            DemoError: A task failed, a run is missing, or the time limit was exceeded.
        """
        return self.wait(self.start(days), dag_ids)

    def start(self, days: DayRange) -> Run:
        """Start the ingest of ``days``, and return its run.

        Args:
            days: The days.
        """
        conf = {"from_day": str(days.first), "to_day": str(days.last)}
        return self._client.trigger("churn_ingest", str(days.last), conf)

    def wait_for_ingest(self, first: Run) -> Snapshot:
        """Wait until a run of the ingest is complete, and return the runs of its day.

        Args:
            first: The run.

        Raises:
            DemoError: A task failed, or the time limit was exceeded.
        """

        def pending(snapshot: Snapshot) -> list[str]:
            return [run.title for run in snapshot.runs if run.run_id == first.run_id and not run.ended]

        return self._watch(first, pending)

    def wait(self, first: Run, dag_ids: Sequence[str]) -> Snapshot:
        """Wait until a run of the ingest and all runs that it triggers are complete, and return them.

        Args:
            first: The run of the ingest.
            dag_ids: The DAGs that must have a complete run.

        Raises:
            DemoError: A task failed, a run is missing, or the time limit was exceeded.
        """
        links = self._client.links()
        snapshot = self._watch(first, lambda snapshot: chain.pending(snapshot, links))
        if missing := chain.missing(snapshot, dag_ids):
            skipped = ", ".join(task.title for task in snapshot.tasks if task.state == "skipped")
            raise DemoError(
                f"The chain ended without a complete run of {', '.join(missing)}. Skipped: {skipped or 'nothing'}.",
                where=f"runs of {first.partition_key} at {self._client.url}",
                remedy="Read in the logs of the skipped tasks why they skipped.",
            )
        return snapshot

    def _watch(self, first: Run, find_pending: Callable[[Snapshot], list[str]]) -> Snapshot:
        with display(self._console) as show:
            while True:
                snapshot = self._client.snapshot(first.created).of_partition(first.partition_key)
                show(snapshot)
                self._require_success(snapshot)
                pending = find_pending(snapshot)
                if not pending:
                    return snapshot
                if time.monotonic() > self._deadline:
                    raise DemoError(
                        f"The runs exceeded the time limit. Pending: {'; '.join(pending)}.",
                        where=self._client.url,
                        remedy="Read the logs of these tasks in the UI.",
                    )
                time.sleep(_POLL_SECONDS)

    def _require_success(self, snapshot: Snapshot) -> None:
        failures = chain.failures(snapshot)
        if failures:
            task = failures[0]
            self._print_log(task)
            raise DemoError(
                f"{task.title} ended in state {task.state}.",
                where=f"run {task.run_id}",
                remedy="Read the end of its log above.",
            )
        failed = [run.title for run in snapshot.runs if run.state == "failed"]
        if failed:
            raise DemoError(
                f"{failed[0]} failed without a failed task.",
                where=self._client.url,
                remedy="Read the log of the scheduler.",
            )

    def _print_log(self, task: Task) -> None:
        self._console.print(f"--- end of the log of {task.title}:", highlight=False, markup=False)
        try:
            lines = self._client.task_log_tail(task, _LOG_LINES)
        except ApiError as error:
            lines = [f"The log cannot be read: {error}"]
        for text in lines:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _import_errors(self) -> str:
        errors = self._client.import_errors()
        return " ".join(f"{name} cannot be imported: {trace.splitlines()[-1]}" for name, trace in errors.items())


def run_demo(stack: Stack, keep: bool) -> int:
    """Run the demo and print its summary; the last line is one JSON object.

    Args:
        stack: The stack; it is started unless it runs.
        keep: Whether to leave the stack running after success. It is stopped after a failure or an interruption.

    Returns:
        The exit code: 0 when every task succeeded, 1 after a failure, 130 after an interruption.
    """
    start = time.perf_counter()
    console = Console()
    code, figures = 1, dict[str, Any](_NO_FIGURES)
    with _handling(_interrupt):
        try:
            summary = _run(stack, console)
            render(summary, console)
            code, figures = 0, summary.as_dict()
        except KeyboardInterrupt:
            code = 130
            _say(console, "Interrupted.")
        except ChurnflowError as error:
            _say(console, str(error))
        finally:
            # A second signal must not interrupt the teardown.
            with _handling(signal.SIG_IGN):
                if code or not keep:
                    stack.down(lambda text: _say(console, text))
                else:
                    _say(console, "The stack is running; `make down` stops it.")
                seconds = round(time.perf_counter() - start, 1)
                _say(console, f"Total time: {seconds:.0f} s.")
                print(json.dumps({"ok": code == 0, "seconds": seconds, **figures}), flush=True)
    return code


def _run(stack: Stack, console: Console) -> Summary:
    deadline = time.monotonic() + LIMIT_SECONDS
    ran_before = stack.supervisor.pid() is not None
    stack.up(lambda text: _say(console, text))
    settings = stack.settings
    # Files of later days are exported, too, so that these days can be ingested by hand.
    files = export(Path(settings.landing_uri) / settings.project, DayRange(HISTORY.first, LAST_DAY))
    _say(console, f"{files} new files in {settings.landing_uri}.")
    client = AirflowClient(stack.airflow_url, password=stack.admin_password)
    try:
        demo = Demo(client, console, deadline)
        demo.prepare()
        if not ran_before:
            demo.fail_unfinished_runs()
        _say(console, f"The history, {HISTORY}, and the runs that it triggers:")
        # churn_deploy runs only when a new champion was promoted.
        demo.run(HISTORY, ("churn_ingest", "churn_train", "churn_score", "churn_monitor"))
        _say(console, f"One more day, {NEXT_DAY}:")
        demo.run(DayRange.single(NEXT_DAY), ("churn_ingest", "churn_score", "churn_monitor"))
    finally:
        client.close()
    return collect(stack, NEXT_DAY)


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End the demo on SIGTERM and SIGINT, and ignore further signals until the teardown is complete."""
    for signal_number in _SIGNALS:
        signal.signal(signal_number, signal.SIG_IGN)
    raise KeyboardInterrupt


@contextmanager
def _handling(handler: Any) -> Iterator[None]:
    """Handle SIGINT and SIGTERM with ``handler``."""
    former = [signal.signal(number, handler) for number in _SIGNALS]
    try:
        yield
    finally:
        for number, previous in zip(_SIGNALS, former, strict=True):
            signal.signal(number, previous)
