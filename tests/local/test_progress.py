from __future__ import annotations

import datetime as dt
import io

from rich.console import Console

from local.client import Run, Snapshot, Task
from local.progress import Progress, display, line

START = dt.datetime(2026, 1, 1, 12, 1, 3, tzinfo=dt.UTC)


def task(task_id: str, state: str | None, ended: float | None = None, attempt: int = 1) -> Task:
    end = None if ended is None else START + dt.timedelta(seconds=ended)
    return Task("churn_train", "run", task_id, state, attempt, ended, end)


def snapshot(*tasks: Task) -> Snapshot:
    return Snapshot((Run("churn_train", "run", "running", "2017-12-17", START),), tasks)


def advance(progress: Progress, *tasks: Task) -> list[tuple[str, str | None]]:
    return [(item.task_id, item.state) for item in progress.advance(snapshot(*tasks))]


def test_each_change_is_reported_once() -> None:
    progress = Progress()
    assert advance(progress, task("train", None), task("read_result", None)) == []
    assert advance(progress, task("train", "queued"), task("read_result", None)) == []
    assert advance(progress, task("train", "running"), task("read_result", None)) == [("train", "running")]
    assert advance(progress, task("train", "running"), task("read_result", None)) == []
    assert advance(progress, task("train", "success", 34), task("read_result", "running")) == [
        ("train", "success"),
        ("read_result", "running"),
    ]


def test_ended_tasks_are_reported_in_the_order_of_their_end() -> None:
    tasks = task("decide", "running"), task("read_result", "success", 9), task("train", "success", 3)
    assert advance(Progress(), *tasks) == [("train", "success"), ("read_result", "success"), ("decide", "running")]


def test_each_try_is_reported() -> None:
    progress = Progress()
    assert advance(progress, task("train", "running")) == [("train", "running")]
    assert advance(progress, task("train", "up_for_retry", 5)) == [("train", "up_for_retry")]
    assert advance(progress, task("train", "running", 5, attempt=2)) == [("train", "running")]
    assert advance(progress, task("train", "failed", 9, attempt=2)) == [("train", "failed")]


def test_mapped_tasks_are_reported_by_index() -> None:
    first, second = (Task("churn_train", "run", "tune", "running", 1, None, None, number) for number in (0, 1))
    changed = Progress().advance(snapshot(first, second, task("train", None)))
    assert [line(item) for item in changed] == ["churn_train.tune[0] running", "churn_train.tune[1] running"]


def test_line_has_task_state_try_and_duration() -> None:
    assert line(task("train", "success", 34.4)) == "churn_train.train success (34 s)"
    assert line(task("train", "running", 34.4, attempt=2)) == "churn_train.train running, try 2"


def test_output_without_a_terminal_is_plain_lines() -> None:
    stream = io.StringIO()
    with display(Console(file=stream, width=20), now=lambda: START) as show:
        show(snapshot(task("train", "running")))
        show(snapshot(task("train", "success", 34)))
        show(snapshot(task("train", "success", 34)))
    assert stream.getvalue() == "12:01:03 churn_train.train running\n12:01:03 churn_train.train success (34 s)\n"


def test_terminal_keeps_the_last_table() -> None:
    stream = io.StringIO()
    with display(Console(file=stream, width=100, force_terminal=True, color_system=None)) as show:
        show(snapshot(task("train", "success", 34), task("read_result", "failed", 1), task("decide", None)))
    assert "✓ train  ✗ read_result  · decide" in stream.getvalue()
    assert "2017-12-17" in stream.getvalue()
