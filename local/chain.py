"""What the demo still waits for, and what counts as done: conclusions from one snapshot of runs and tasks.

A consumer's run appears some seconds after the task that causes it. It is awaited from the moment at which that task
has succeeded, so that the chain never looks finished in between.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from local.client import Link, Run, Snapshot, Task

FAILED = ("failed", "upstream_failed")

# Tasks that may have nothing to do. Scoring skips as long as no model is deployed, but one day must be scored.
_MAY_SKIP = {
    "churn_ingest": {"request_training"},
    "churn_train": {"announce_champion"},
    "churn_deploy": {"start_shadow"},
    "churn_score": {"find_model", "score_customers", "update_online_store"},
    "churn_monitor": {"request_retraining"},
}


def awaited(snapshot: Snapshot, links: Iterable[Link]) -> list[str]:
    """Return what is still expected, for people; nothing when the chain has come to rest."""
    open_runs = [f"{run.title} ({_doing(run, snapshot)})" for run in snapshot.runs if not run.ended]
    days = {(run.dag_id, run.run_id): run.partition_key for run in snapshot.runs}
    consumers: dict[tuple[str, str], set[str]] = {}
    for link in links:
        consumers.setdefault((link.dag_id, link.task_id), set()).add(link.consumer)
    to_come = {
        f"{consumer} of {days[task.dag_id, task.run_id]} (caused by {task.title})"
        for task in snapshot.tasks
        if task.state == "success"
        for consumer in consumers.get((task.dag_id, task.task_id), ())
        if not _has_followed(task, consumer, days[task.dag_id, task.run_id], snapshot.runs)
    }
    return open_runs + sorted(to_come)


def failures(snapshot: Snapshot) -> list[Task]:
    """Return the tasks that failed, causes before their consequences, and those that skipped without a reason."""
    skipped = [task for task in snapshot.tasks if task.state == "skipped" and not _may_skip(task)]
    return [task for state in FAILED for task in snapshot.tasks if task.state == state] + skipped


def missing(snapshot: Snapshot, dag_ids: Collection[str]) -> list[str]:
    """Return those of ``dag_ids`` that have no complete run: one that succeeded and did its work."""
    complete = {run.dag_id for run in snapshot.runs if run.state == "success" and _did_its_work(run, snapshot)}
    return [dag_id for dag_id in dag_ids if dag_id not in complete]


def _has_followed(cause: Task, consumer: str, day: str | None, runs: Iterable[Run]) -> bool:
    # Several causes may share one run, which is created after the last of them.
    return any(
        run.dag_id == consumer and run.partition_key == day and cause.ended is not None and run.created >= cause.ended
        for run in runs
    )


def _doing(run: Run, snapshot: Snapshot) -> str:
    tasks = [task for task in snapshot.tasks if (task.dag_id, task.run_id) == (run.dag_id, run.run_id)]
    at_work = [f"{task.name} {task.state}" for task in tasks if task.state in ("running", "queued", "up_for_retry")]
    return ", ".join(at_work) or run.state


def _did_its_work(run: Run, snapshot: Snapshot) -> bool:
    tasks = [task for task in snapshot.tasks if (task.dag_id, task.run_id) == (run.dag_id, run.run_id)]
    if run.dag_id == "churn_score":
        return all(task.state == "success" for task in tasks)
    return all(task.state == "success" or (task.state == "skipped" and _may_skip(task)) for task in tasks)


def _may_skip(task: Task) -> bool:
    return task.task_id in _MAY_SKIP.get(task.dag_id, ())
