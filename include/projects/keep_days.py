"""Retention periods: ``keep_days`` in ``project.yaml``, and the shortest periods with which the pipeline works."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from include.projects.yaml_files import Config

if TYPE_CHECKING:
    from include.projects.project import Project

Days = Annotated[int | None, Field(ge=1)]


class KeepDays(Config):
    """The number of days, up to the newest day in gold, for which data is kept; data without a period is kept for ever.

    Deliveries of sources of kind ``changes``, and the delivery of a ``snapshot`` that is valid on the first kept day,
    are kept in landing, bronze and silver, since later days read them.

    Attributes:
        landing: Delivered files below the landing address.
        bronze: Raw rows.
        silver: Typed rows.
        quarantine: Rejected rows.
        features: The features and the labels in gold.
        scores: The retention lists.
        predictions: The collected prediction log. Its segments have the setting ``CHURN_SERVING__LOG__KEEP_DAYS``.
        datasets: Training data sets, by their last day; the newest is kept.
        versions: DVC versions of raw data, by their last day; the newest and those of packaged models are kept.
        reports: Audits, quality reports and monitoring reports with their results.
        monitoring: Incidents, acknowledgements and messages.
    """

    landing: Days = None
    bronze: Days = None
    silver: Days = None
    quarantine: Days = None
    features: Days = None
    scores: Days = None
    predictions: Days = None
    datasets: Days = None
    versions: Days = None
    reports: Days = None
    monitoring: Days = None


def longest_event_window(project: Project) -> int:
    """Return the longest window of events that the population or a feature reads, in days; at least 1."""
    return max([1, project.population.active_within_days or 0, *(spec.window or 0 for spec in project.features)])


def shortest_periods(project: Project) -> dict[str, tuple[int, str]]:
    """Return the shortest period of each kind of data that has one, with the reason.

    Args:
        project: The project.
    """
    horizon, lateness = project.label.horizon_days, project.lateness_days
    checks = [project.checks[name].row_count for name in project.checks]
    history = max([0, *(check.history_days for check in checks if check)])
    duplicates = max([0, *(source.deduplicate_days for source in project.sources.values())])
    read = max(longest_event_window(project), history, duplicates, horizon + lateness)
    late = f"late deliveries ({lateness} days)"
    judged = horizon + lateness + project.monitoring.window_days
    why_read = f"{late} after what a day reads ({read} days: windows, label, duplicates, row counts)"
    why_judged = f"the horizon, {late} and the window of monitoring"
    return {
        "bronze": (lateness + read, why_read),
        "silver": (lateness + read, why_read),
        "features": (_training_days(project), "the snapshots of a training, and the horizon of their labels"),
        "scores": (judged, why_judged),
        "predictions": (judged, why_judged),
        "reports": (
            max(project.monitoring.retrain_cooldown_days, project.monitoring.window_days),
            "the window and the cool-down of monitoring",
        ),
    }


def check_keep_days(project: Project) -> Iterator[tuple[str, str]]:
    """Return each period that is too short for the pipeline: its name and the problem as the end of a sentence.

    Args:
        project: A complete project.
    """
    for name, (shortest, reason) in shortest_periods(project).items():
        days = getattr(project.keep_days, name)
        if days is not None and days < shortest:
            yield name, f"is {days}, but the project needs at least {shortest} days: {reason}"


def _training_days(project: Project) -> int:
    if not project.has_time:
        return 1
    training, horizon = project.training, project.label.horizon_days
    interval = 7 if project.snapshots else 1
    gap = math.ceil(horizon / interval)
    snapshots = training.test_snapshots + gap + max(2 * training.cv_folds, 2 * (gap + 1))
    return horizon + interval * snapshots
