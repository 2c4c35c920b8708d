"""Retraining requests: whether a monitoring result requires a training, and whether new data is available for it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from include.days import DayRange
from include.projects import Project
from include.projects.requirements import Costs
from include.training.data.splits import TooFewSnapshotsError, split_by_time
from include.training.evaluation.change import Values, describe
from include.training.model.reference_profile import SCORE, NumberProfile, ReferenceProfile


@dataclass(frozen=True)
class RetrainDecision:
    """Whether a monitored day requests a training.

    Attributes:
        reason: The reason of the request; None if no training is requested.
        refusal: Why no training is requested; None if a training is requested.
    """

    reason: str | None = None
    refusal: str | None = None


@dataclass(frozen=True)
class SavingChange:
    """The expected saving per 1,000 customers, in US dollars, of the reference and of the monitored day."""

    reference: float
    current: float

    def exceeds(self, share: float) -> bool:
        """Return whether the change is larger than a share of the reference."""
        return abs(self.current - self.reference) > share * self.reference

    def __str__(self) -> str:
        relative = f" ({self.current / self.reference - 1:+.0%})" if self.reference else ""
        return f"${self.reference:,.0f} to ${self.current:,.0f} per 1,000 customers{relative}"


def expected_saving(scores: NumberProfile, costs: Costs) -> float:
    """Return the expected saving of the offers to customers with given scores, in US dollars per 1,000 customers.

    An offer at probability p saves ``p * missed - (1 - p) * needless`` on average, and is made where this is above 0
    (Elkan, The Foundations of Cost-Sensitive Learning, 2001). The mean over the customers is computed from the
    quantiles of the scores, by the trapezoidal rule between two quantiles, for the reference and for a monitored day.

    Args:
        scores: The profile of the scores, with at least one score.
        costs: The costs of a missed churner and of a needless offer.
    """
    edges, below, at_most = (np.array(values) for values in (scores.edges, scores.below, scores.at_most))
    saved = np.maximum(edges * costs.missed_churner_usd - (1 - edges) * costs.needless_offer_usd, 0.0)
    between = (below[1:] - at_most[:-1]) @ (saved[1:] + saved[:-1]) / 2
    return float((at_most - below) @ saved + between) / scores.values * 1000


def saving_change(project: Project, profile: ReferenceProfile, scores: Values) -> SavingChange:
    """Return the change of the expected saving between the reference and a monitored day.

    Args:
        project: The costs.
        profile: The reference profile of the model.
        scores: The model's scores of the monitored day's window.
    """
    costs = project.requirements.costs
    reference, current = (cast(NumberProfile, scored) for scored in (profile.features[SCORE], describe(scores)))
    return SavingChange(expected_saving(reference, costs), expected_saving(current, costs))


def retrain_decision(
    project: Project,
    result: dict[str, Any],
    saving: SavingChange,
    champion_trained_through: dt.date,
    day: dt.date,
    requested_days: Iterable[dt.date] = (),
) -> RetrainDecision:
    """Decide whether a monitored day requests a training.

    Decay requires a training. Drift requires a training if it changes the expected saving, and if no source delivers
    fewer rows than usual, since the model would be fitted on incomplete data. To prevent a loop of monitoring,
    training, deployment and scoring, there is no request during the cool-down after the deployed model's data set was
    built, nor within the cool-down before or after another request.

    Args:
        project: The project's snapshots, split and limits.
        result: The day's drift, sources and performance, as in ``result.json``.
        saving: The change of the expected saving.
        champion_trained_through: The last snapshot that the deployed model was fitted on.
        day: The monitored day.
        requested_days: The days whose monitoring requested a training; ``day`` is ignored.
    """
    cause = _cause(project, result, saving)
    if cause.reason is None:
        return cause
    cooldown = project.monitoring.retrain_cooldown
    for requested in sorted(requested_days):
        if requested != day and abs(requested - day) < cooldown:
            return RetrainDecision(refusal=f"{cause.reason} A training was requested on {requested}.")
    reachable = trainable_through(project, day)
    # The last training snapshot precedes the day of its data set by a fixed time, so the difference of two such
    # snapshots is the time between the two data sets.
    if reachable is None or reachable - champion_trained_through < cooldown:
        text = f"The data set of the deployed model is less than {cooldown.days} days old, so there are few new labels."
        return RetrainDecision(refusal=f"{cause.reason} {text}")
    return cause


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


def _cause(project: Project, result: dict[str, Any], saving: SavingChange) -> RetrainDecision:
    """Return whether the day requires a training, regardless of other requests and of the age of the model."""
    if result["performance"]["decayed"]:
        return RetrainDecision(f"decay: {result['performance']['reason']}")
    if not result["drift"]["drifted"]:
        return RetrainDecision(refusal="There is neither drift nor decay.")
    incomplete = [source["name"] for source in result["sources"] if source["exceeds"]]
    if incomplete:
        text = f"Drift, but fewer rows than usual were delivered by {', '.join(incomplete)}: the data is incomplete."
        return RetrainDecision(refusal=text)
    share = project.monitoring.retrain_saving_change
    if not saving.exceeds(share):
        text = f"Drift, but the expected saving changed from {saving}; a request needs a change above {share:.0%}."
        return RetrainDecision(refusal=text)
    return RetrainDecision(f"drift: {result['drift']['reason']} The expected saving changed from {saving}.")
