"""Show how a chain of runs advances: a table that lives on a terminal, plain lines elsewhere."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from local.client import Run, Snapshot, Task

_WORTH_TELLING = frozenset({"running", "success", "failed", "upstream_failed", "skipped", "up_for_retry"})
_MARKS = {
    "running": ("▶", "cyan"),
    "success": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "upstream_failed": ("✗", "red"),
    "skipped": ("-", "dim"),
    "up_for_retry": ("↻", "yellow"),
}


class Progress:
    """Remembers what it has told, to tell what is new."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str, str, int], tuple[str | None, int]] = {}

    def advance(self, snapshot: Snapshot) -> list[Task]:
        """Return the tasks that have entered a state worth telling; first those that have ended, in that order.

        A state that came and went between two snapshots is not told; a task that is tried again is told again.
        """
        changed = [
            task
            for task in snapshot.tasks
            if task.state in _WORTH_TELLING and self._told.get(task.key) != (task.state, task.attempt)
        ]
        self._told |= {task.key: (task.state, task.attempt) for task in changed}
        at_work = [task for task in changed if task.ended is None or task.state == "running"]
        ends = [(task.ended, task.key, task) for task in changed if task.ended and task.state != "running"]
        return [task for _, _, task in sorted(ends)] + at_work


def line(task: Task) -> str:
    """Return a change of a task as one line, without the time."""
    attempt = f", try {task.attempt}" if task.attempt > 1 else ""
    seconds = f" ({task.seconds:.0f} s)" if task.state != "running" and task.seconds is not None else ""
    return f"{task.title} {task.state}{attempt}{seconds}"


def table(snapshot: Snapshot) -> Table:
    """Return the runs as a table, one row for each, the oldest first."""
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
    """Yield a function that shows a new snapshot: in a live table on a terminal, as lines elsewhere.

    Args:
        console: Where it is shown.
        now: The clock for the lines; this machine's when left out.
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
