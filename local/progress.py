"""Show the progress of a chain of runs: as a live table on a terminal, as plain lines elsewhere."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from local.client import Run, Snapshot, Task

_REPORTED_STATES = frozenset({"running", "success", "failed", "upstream_failed", "skipped", "up_for_retry"})
_MARKS = {
    "running": ("▶", "cyan"),
    "success": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "upstream_failed": ("✗", "red"),
    "skipped": ("-", "dim"),
    "up_for_retry": ("↻", "yellow"),
}


class Progress:
    """Find the tasks with a different state than in the last snapshot."""

    def __init__(self) -> None:
        self._reported: dict[tuple[str, str, str, int], tuple[str | None, int]] = {}

    def advance(self, snapshot: Snapshot) -> list[Task]:
        """Return the tasks with a new state or a new try: first the ended tasks by their end, then the other tasks.

        States that begin and end between two snapshots are not reported.
        """
        changed = [
            task
            for task in snapshot.tasks
            if task.state in _REPORTED_STATES and self._reported.get(task.key) != (task.state, task.attempt)
        ]
        self._reported |= {task.key: (task.state, task.attempt) for task in changed}
        active = [task for task in changed if task.ended is None or task.state == "running"]
        ends = [(task.ended, task.key, task) for task in changed if task.ended and task.state != "running"]
        return [task for _, _, task in sorted(ends)] + active


def line(task: Task) -> str:
    """Describe the state of a task in one line, without the time of day."""
    attempt = f", try {task.attempt}" if task.attempt > 1 else ""
    seconds = f" ({task.seconds:.0f} s)" if task.state != "running" and task.seconds is not None else ""
    return f"{task.title} {task.state}{attempt}{seconds}"


def table(snapshot: Snapshot) -> Table:
    """Return a table with one row per run, the oldest first."""
    grid = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("DAG", "day", "state", "tasks", "seconds"):
        grid.add_column(column, justify="right" if column == "seconds" else "left")
    for run in sorted(snapshot.runs, key=lambda run: run.created):
        tasks = [task for task in snapshot.tasks if (task.dag_id, task.run_id) == (run.dag_id, run.run_id)]
        seconds = sum(task.seconds or 0 for task in tasks)
        grid.add_row(run.dag_id, run.partition_key or "", _state(run), _marks(tasks), f"{seconds:.0f}")
    return grid


@contextmanager
def display(console: Console, now: Callable[[], dt.datetime] | None = None) -> Iterator[Callable[[Snapshot], None]]:
    """Yield a function that shows a snapshot: in a live table on a terminal, as lines elsewhere.

    Args:
        console: The console to print on.
        now: The clock for the time of each line; the local time by default.
    """
    if console.is_terminal:
        with Live(table(Snapshot()), console=console, refresh_per_second=4) as live:
            yield lambda snapshot: live.update(table(snapshot))
        return
    progress = Progress()
    clock = now or (lambda: dt.datetime.now(dt.UTC).astimezone())

    def show(snapshot: Snapshot) -> None:
        for task in progress.advance(snapshot):
            console.print(f"{clock():%H:%M:%S} {line(task)}", highlight=False, markup=False, soft_wrap=True)

    yield show


def _state(run: Run) -> Text:
    return Text(run.state, style=_MARKS.get(run.state, ("", ""))[1])


def _marks(tasks: list[Task]) -> Text:
    parts = [(task.name, *_MARKS.get(task.state or "", ("·", "dim"))) for task in tasks]
    return Text("  ").join(Text(f"{mark} {name}", style=style) for name, mark, style in parts)
