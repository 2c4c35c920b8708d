from __future__ import annotations

import datetime as dt

import pytest

from local.chain import failures, missing, pending
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


def test_unfinished_run_is_pending_with_its_active_tasks() -> None:
    running = run("churn_ingest", 0, "running")
    snapshot = Snapshot(
        (running,), (task(running, "build_silver_and_gold", "running"), task(running, "build_labels", None))
    )
    assert pending(snapshot, LINKS) == ["churn_ingest of 2017-12-17 (build_silver_and_gold running)"]


def test_consumer_is_pending_until_its_run_exists() -> None:
    assert pending(Snapshot((INGEST,), (GOLD,)), LINKS) == [
        "churn_score of 2017-12-17 (triggered by churn_ingest.build_silver_and_gold)"
    ]


def test_nothing_is_pending_after_the_consumer_ran() -> None:
    assert pending(Snapshot((INGEST, run("churn_score", 11)), (GOLD,)), LINKS) == []


@pytest.mark.parametrize(
    "other",
    [run("churn_score", 9), run("churn_score", 11, day="2017-12-16"), run("churn_train", 11)],
    ids=["before the producer", "other day", "other DAG"],
)
def test_other_runs_do_not_count_as_the_consumer_run(other: Run) -> None:
    assert pending(Snapshot((INGEST, other), (GOLD,)), LINKS) != []


def test_second_producer_requires_a_later_consumer_run() -> None:
    deploy = run("churn_deploy", 20)
    first = Snapshot((INGEST, run("churn_score", 11), deploy), (GOLD, task(deploy, "roll_out", ended=30)))
    assert pending(first, LINKS) == ["churn_score of 2017-12-17 (triggered by churn_deploy.roll_out)"]
    second = Snapshot((*first.runs, run("churn_score", 31)), first.tasks)
    assert pending(second, LINKS) == []


@pytest.mark.parametrize("state", ["skipped", "failed", "running", None])
def test_producer_without_success_triggers_no_consumer(state: str | None) -> None:
    assert pending(Snapshot((INGEST,), (task(INGEST, "build_silver_and_gold", state, 10),)), LINKS) == []


def test_failed_tasks_and_unexpected_skips_are_failures() -> None:
    deploy = run("churn_deploy", 1)
    cause, effect = task(INGEST, "load_bronze", "failed"), task(INGEST, "build_silver_and_gold", "upstream_failed")
    odd = task(deploy, "smoke_test", "skipped")
    fine = [task(INGEST, "request_training", "skipped"), task(deploy, "roll_out"), task(INGEST, "x", "up_for_retry")]
    assert failures(Snapshot((INGEST, deploy), (odd, effect, cause, *fine))) == [cause, effect, odd]


def test_skipped_scoring_is_neither_a_failure_nor_a_complete_run() -> None:
    early, late = run("churn_score", 1), run("churn_score", 50)
    tasks = ("find_model", "score_customers", "update_online_store")
    skipped = [task(early, name, "skipped") for name in tasks]
    before = Snapshot((early,), tuple(skipped))
    assert failures(before) == []
    assert missing(before, ["churn_score"]) == ["churn_score"]
    scored = [task(late, name) for name in tasks]
    assert missing(Snapshot((early, late), (*skipped, *scored)), ["churn_score"]) == []


def test_absent_and_failed_runs_are_missing() -> None:
    monitor = run("churn_monitor", 1, "failed")
    snapshot = Snapshot((INGEST, monitor), (GOLD, task(INGEST, "request_training", "skipped")))
    assert missing(snapshot, ["churn_ingest", "churn_train", "churn_monitor"]) == ["churn_train", "churn_monitor"]
