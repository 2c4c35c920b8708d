"""Retraining requests: whether a monitoring result requires a training, and whether new data is available for it."""

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
    """Return the reason for a retraining request; None if no training is requested.

    Drift and decay require a training. To prevent a loop of monitoring, training, deployment and scoring, there is no
    request during the settling time after the deployed model's data set was built, or after an earlier request. While a
    source delivers fewer rows than usual, drift requests no training, since the model would be fitted on incomplete
    data.

    Args:
        project: The project's snapshots, split and limits.
        result: The day's drift, sources and performance, as in ``result.json``.
        champion_trained_through: The last snapshot that the deployed model was fitted on.
        day: The monitored day.
        requested_days: The days whose monitoring requested a training; ``day`` and later days are ignored.
    """
    reason = _cause(project, result)
    settling = settling_time(project)
    if reason is None or any(day - settling < requested < day for requested in requested_days):
        return None
    reachable = trainable_through(project, day)
    # The last training snapshot precedes the day of its data set by a fixed time, so the difference of two such
    # snapshots is the time between the two data sets.
    if reachable is None or reachable - champion_trained_through < settling:
        return None
    return reason


def settling_time(project: Project) -> dt.timedelta:
    """Return the time without a further request: the label's horizon; for data without time, the training interval."""
    return dt.timedelta(days=project.label.horizon_days if project.has_time else project.training.every_days)


def trainable_through(project: Project, day: dt.date) -> dt.date | None:
    """Return the last snapshot that a training for ``day`` fits its model on; None if there are too few snapshots.

    Args:
        project: The project's snapshots, label and split.
        day: The day of the training.
    """
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
    return split.test[-1]


def _cause(project: Project, result: dict[str, Any]) -> str | None:
    if result["performance"]["decayed"]:
        return f"decay: {result['performance']['reason']}"
    complete = not any(source["exceeds"] for source in result["sources"])
    if result["drift"]["drifted"] and complete and project.monitoring.retrain_on_drift:
        return f"drift: {result['drift']['reason']}"
    return None
