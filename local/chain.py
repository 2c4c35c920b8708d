"""The state of a chain of DAG runs, derived from one snapshot: pending work, failures and missing runs.

Airflow creates the run of a consumer DAG some seconds after the producing task succeeds. The run counts as pending from
the success of that task on, so that the chain does not look complete in between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from local.client import Link, Run, Snapshot, Task

FAILED = ("failed", "upstream_failed")

# Tasks that may skip. Scoring skips until a model is deployed; `missing` requires one run that scored.
_MAY_SKIP = {
    "churn_ingest": {"request_training"},
    "churn_train": {"announce_champion"},
    "churn_deploy": {"start_shadow"},
    "churn_score": {"find_model", "score_customers", "update_online_store"},
    "churn_monitor": {"request_retraining"},
}


def pending(snapshot: Snapshot, links: Iterable[Link]) -> list[str]:
    """Describe the unfinished runs and the consumer runs that do not exist yet.

    Args:
        snapshot: The runs and tasks.
        links: The assets between DAGs.

    Returns:
        One description per run; an empty list when the chain is complete.
    """
    unfinished = [f"{run.title} ({_active_tasks(run, snapshot)})" for run in snapshot.runs if not run.ended]
    days = {(run.dag_id, run.run_id): run.partition_key for run in snapshot.runs}
    consumers: dict[tuple[str, str], set[str]] = {}
    for link in links:
        consumers.setdefault((link.dag_id, link.task_id), set()).add(link.consumer)
    expected = {
        f"{consumer} of {days[task.dag_id, task.run_id]} (triggered by {task.title})"
        for task in snapshot.tasks
        if task.state == "success"
        for consumer in consumers.get((task.dag_id, task.task_id), ())
        if not _consumer_ran(task, consumer, days[task.dag_id, task.run_id], snapshot.runs)
    }
    return unfinished + sorted(expected)


def failures(snapshot: Snapshot) -> list[Task]:
    """Return the failed tasks, causes before consequences, then the tasks that skipped although they must not."""
    skipped = [task for task in snapshot.tasks if task.state == "skipped" and not _may_skip(task)]
    return [task for state in FAILED for task in snapshot.tasks if task.state == state] + skipped


def missing(snapshot: Snapshot, dag_ids: Collection[str]) -> list[str]:
    """Return the members of ``dag_ids`` without a complete run.

    Args:
        snapshot: The runs and tasks.
        dag_ids: The DAGs that must have run.
    """
    complete = {run.dag_id for run in snapshot.runs if run.state == "success" and _is_complete(run, snapshot)}
    return [dag_id for dag_id in dag_ids if dag_id not in complete]


def _consumer_ran(cause: Task, consumer: str, day: str | None, runs: Iterable[Run]) -> bool:
    # Several producing tasks may share one consumer run, which Airflow creates after the last of them.
    return any(
        run.dag_id == consumer and run.partition_key == day and cause.ended is not None and run.created >= cause.ended
        for run in runs
    )


def _active_tasks(run: Run, snapshot: Snapshot) -> str:
    tasks = [task for task in snapshot.tasks if (task.dag_id, task.run_id) == (run.dag_id, run.run_id)]
    active = [f"{task.name} {task.state}" for task in tasks if task.state in ("running", "queued", "up_for_retry")]
    return ", ".join(active) or run.state


def _is_complete(run: Run, snapshot: Snapshot) -> bool:
    tasks = [task for task in snapshot.tasks if (task.dag_id, task.run_id) == (run.dag_id, run.run_id)]
    if run.dag_id == "churn_score":
        return all(task.state == "success" for task in tasks)
    return all(task.state == "success" or (task.state == "skipped" and _may_skip(task)) for task in tasks)


def _may_skip(task: Task) -> bool:
    return task.task_id in _MAY_SKIP.get(task.dag_id, ())
