from __future__ import annotations

import datetime as dt

import pytest

from local.chain import awaited, failures, missing
from local.client import Link, Run, Snapshot, Task

START = dt.datetime(2026, 1, 1, 12, 0, tzinfo=dt.UTC)
LINKS = [Link("churn_ingest", "build_silver_and_gold", "churn_score"), Link("churn_deploy", "roll_out", "churn_score")]
DAY = "2017-12-17"


def run(dag_id: str, created: float, state: str = "success", day: str = DAY) -> Run:
    return Run(dag_id, f"{dag_id}-{created}", state, day, START + dt.timedelta(seconds=created))


def task(of: Run, task_id: str, state: str | None = "success", ended: float | None = None) -> Task:
    end = None if ended is None else START + dt.timedelta(seconds=ended)
    return Task(of.dag_id, of.run_id, task_id, state, 1, 1.0, end)


INGEST = run("churn_ingest", 0)
GOLD = task(INGEST, "build_silver_and_gold", ended=10)


def test_a_run_at_work_is_awaited_with_what_it_does() -> None:
    at_work = run("churn_ingest", 0, "running")
    snapshot = Snapshot(
        (at_work,), (task(at_work, "build_silver_and_gold", "running"), task(at_work, "build_labels", None))
    )
    assert awaited(snapshot, LINKS) == ["churn_ingest of 2017-12-17 (build_silver_and_gold running)"]


def test_a_consumer_is_awaited_before_its_run_appears() -> None:
    assert awaited(Snapshot((INGEST,), (GOLD,)), LINKS) == [
        "churn_score of 2017-12-17 (caused by churn_ingest.build_silver_and_gold)"
    ]


def test_nothing_is_awaited_when_the_consumer_has_followed() -> None:
    assert awaited(Snapshot((INGEST, run("churn_score", 11)), (GOLD,)), LINKS) == []


@pytest.mark.parametrize(
    "other",
    [run("churn_score", 9), run("churn_score", 11, day="2017-12-16"), run("churn_train", 11)],
    ids=["before the cause", "of another day", "of another DAG"],
)
def test_another_run_is_not_taken_for_the_consumers(other: Run) -> None:
    assert awaited(Snapshot((INGEST, other), (GOLD,)), LINKS) != []


def test_a_second_cause_expects_another_run_unless_one_came_after_it() -> None:
    deploy = run("churn_deploy", 20)
    first = Snapshot((INGEST, run("churn_score", 11), deploy), (GOLD, task(deploy, "roll_out", ended=30)))
    assert awaited(first, LINKS) == ["churn_score of 2017-12-17 (caused by churn_deploy.roll_out)"]
    second = Snapshot((*first.runs, run("churn_score", 31)), first.tasks)
    assert awaited(second, LINKS) == []


@pytest.mark.parametrize("state", ["skipped", "failed", "running", None])
def test_a_cause_that_did_not_succeed_starts_nothing(state: str | None) -> None:
    assert awaited(Snapshot((INGEST,), (task(INGEST, "build_silver_and_gold", state, 10),)), LINKS) == []


def test_failed_tasks_and_skips_without_a_reason_are_failures() -> None:
    deploy = run("churn_deploy", 1)
    cause, effect = task(INGEST, "load_bronze", "failed"), task(INGEST, "build_silver_and_gold", "upstream_failed")
    odd = task(deploy, "smoke_test", "skipped")
    fine = [task(INGEST, "request_training", "skipped"), task(deploy, "roll_out"), task(INGEST, "x", "up_for_retry")]
    assert failures(Snapshot((INGEST, deploy), (odd, effect, cause, *fine))) == [cause, effect, odd]


def test_scoring_that_skipped_is_no_failure_but_no_complete_run_either() -> None:
    early, late = run("churn_score", 1), run("churn_score", 50)
    tasks = ("find_model", "score_customers", "update_online_store")
    skipped = [task(early, name, "skipped") for name in tasks]
    before = Snapshot((early,), tuple(skipped))
    assert failures(before) == []
    assert missing(before, ["churn_score"]) == ["churn_score"]
    scored = [task(late, name) for name in tasks]
    assert missing(Snapshot((early, late), (*skipped, *scored)), ["churn_score"]) == []


def test_a_run_is_missing_when_it_never_came_or_failed() -> None:
    monitor = run("churn_monitor", 1, "failed")
    snapshot = Snapshot((INGEST, monitor), (GOLD, task(INGEST, "request_training", "skipped")))
    assert missing(snapshot, ["churn_ingest", "churn_train", "churn_monitor"]) == ["churn_train", "churn_monitor"]
