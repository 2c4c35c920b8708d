"""Whether what monitoring found calls for a training, and whether one would learn anything new."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from include.days import DayRange
from include.projects import Project
from include.training.data.splits import TooFewSnapshotsError, split_by_time


def retrain_request(
    project: Project,
    result: dict[str, Any],
    champion_trained_through: dt.date,
    day: dt.date,
    requested_days: Iterable[dt.date] = (),
) -> str | None:
    """Return why a training is requested; None when none is.

    Drift and decay call for one. Two things hold a request back for the settling time, so that monitor, training,
    deployment and scoring can never chase each other: a model whose data set was built less than that before ``day``,
    and an earlier request less than that ago, whatever became of it.

    Args:
        project: Its snapshots, split and limits.
        result: The day's drift and performance, as in ``result.json``.
        champion_trained_through: The last snapshot that the deployed model learned from.
        day: The day monitored.
        requested_days: Days whose monitoring requested a training; those from ``day`` on do not count.
    """
    reason = _cause(project, result)
    settling = settling_time(project)
    if reason is None or any(day - settling < requested < day for requested in requested_days):
        return None
    reachable = trainable_through(project, day)
    # A data set moves with its day: its last training snapshot is as many days later as the data set was built later.
    if reachable is None or reachable - champion_trained_through < settling:
        return None
    return reason


def settling_time(project: Project) -> dt.timedelta:
    """Return how long a request holds back the next: a label's horizon; without time, the pace of the trainings."""
    return dt.timedelta(days=project.label.horizon_days if project.has_time else project.training.every_days)


def trainable_through(project: Project, day: dt.date) -> dt.date | None:
    """Return the last snapshot that a training for ``day`` would learn from; None when there are too few yet."""
    if not project.has_time:
        return day if day >= project.first_day else None
    matured_by = day - dt.timedelta(days=project.label.horizon_days)
    if matured_by < project.first_day:
        return None
    snapshots = [snapshot for snapshot in DayRange(project.first_day, matured_by) if project.is_snapshot_day(snapshot)]
    try:
        split = split_by_time(snapshots, project.label.horizon_days, project.training.test_snapshots)
    except (TooFewSnapshotsError, IndexError):
        return None
    return split.train[-1]


def _cause(project: Project, result: dict[str, Any]) -> str | None:
    if result["performance"]["decayed"]:
        return f"decay: {result['performance']['reason']}"
    if result["drift"]["drifted"] and project.monitoring.retrain_on_drift:
        return f"drift: {result['drift']['reason']}"
    return None
