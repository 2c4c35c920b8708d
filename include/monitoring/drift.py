"""Drift of a model's inputs and scores: production rows compared with the model's reference profile.

A feature drifted on a day if its change is significant and at least ``multiplier`` times its natural variation, that
is, its largest change between past snapshots. A change is significant if its p-value is below .05 divided by the number
of features (Bonferroni's correction: Dunn, "Multiple Comparisons among Means", JASA 56, 1961). A day exceeds the limits
if an influential feature or the scores drifted, or if a source of influential features, of the population or of the
label delivered far fewer rows. The verdict is drift if enough of the last days exceed the limits.

docs/decisions/0016-own-drift-rules.md explains why the project does not use the rules of a library.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from include.errors import ChurnflowError
from include.lake.table_names import FEATURES_TABLE
from include.plurals import counted
from include.projects.monitoring import DriftLimits
from include.training.evaluation.change import FLOORS, MIN_VALUES, Change, Values, changes
from include.training.model.reference_profile import CategoryProfile, NumberProfile, ReferenceProfile, Rule

SIGNIFICANCE = 0.05
"""The significance level, which is divided by the number of features."""
_GONE = "gold no longer has this column"


class DriftError(ChurnflowError):
    """Production rows cannot be compared with the reference profile."""


@dataclass(frozen=True)
class FeatureDrift:
    """The result for one feature on one day.

    Attributes:
        name: The feature, or ``churn_probability`` for the scores.
        influence: Its influence on the model, from 0 to 1; 1 for the scores.
        counts: Whether the influence reaches ``min_influence``, so that the feature can make the day exceed the limits.
        drifted: Whether ``severity`` reaches ``multiplier``.
        severity: The largest of its significant changes, each divided by its limit; 0 if no change is significant.
        rule: The rule of the most severe change.
        statistic: The size of that change.
        limit: The natural variation of that statistic, or its floor if the floor is larger.
        p_value: The p-value of the change before Bonferroni's correction.
        missing_reference: The share of missing values in the reference.
        missing_current: The share of missing values on the day.
        reason: The result in words.
    """

    name: str
    influence: float
    counts: bool
    drifted: bool
    severity: float
    rule: Rule
    statistic: float
    limit: float
    p_value: float
    missing_reference: float
    missing_current: float
    reason: str


@dataclass(frozen=True)
class DayDrift:
    """The result for all features on one day.

    Attributes:
        severity: The largest severity of the features that count; 0 if there are none.
        exceeds: Whether ``severity`` reaches ``multiplier``.
        rows: The number of production rows.
        features: All compared features: the drifted features that count, then the other drifted features, then the
            rest; in each group, the most severe first.
    """

    severity: float
    exceeds: bool
    rows: int
    features: tuple[FeatureDrift, ...]

    @property
    def drifted_features(self) -> tuple[FeatureDrift, ...]:
        """The drifted features that count, the most severe first."""
        return tuple(feature for feature in self.features if feature.drifted and feature.counts)

    @property
    def informing_features(self) -> tuple[FeatureDrift, ...]:
        """The drifted features whose influence is too low to count, the most severe first."""
        return tuple(feature for feature in self.features if feature.drifted and not feature.counts)


@dataclass(frozen=True)
class DriftVerdict:
    """The verdict of a monitored day, over the last days.

    Attributes:
        drifted: Whether at least ``exceeded_days`` of the judged days exceed the limits.
        reason: The verdict in words.
        promise: Whether the backtest confirms the budget of false verdicts, as one sentence.
        days: The judged days with the largest severity of features and sources, in the order of days.
        exceeding_days: The judged days that exceed the limits.
        shown_day: The newest judged day that exceeds the limits if the verdict is drift; otherwise the last judged day.
        shown: The result of ``shown_day``.
    """

    drifted: bool
    reason: str
    promise: str
    days: Mapping[dt.date, float]
    exceeding_days: tuple[dt.date, ...]
    shown_day: dt.date
    shown: DayDrift

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain JSON types; the features are those of ``shown_day``."""
        return {
            "drifted": self.drifted,
            "reason": self.reason,
            "promise": self.promise,
            "days": [
                {"day": str(day), "severity": severity, "exceeds": day in self.exceeding_days}
                for day, severity in self.days.items()
            ],
            "features_day": str(self.shown_day),
            "severity": self.shown.severity,
            "current_rows": self.shown.rows,
            "drifted_features": len(self.shown.drifted_features),
            "informing_features": len(self.shown.informing_features),
            "features": [asdict(feature) for feature in self.shown.features],
        }


def detect_drift(profile: ReferenceProfile, current: pa.Table, limits: DriftLimits) -> DayDrift:
    """Return which features of one day drifted.

    A column that is missing from ``current`` is compared as a column without values.

    Args:
        profile: The reference profile of the model.
        current: The day's window: one row per customer, with the columns of the profile.
        limits: The project's limits.

    Raises:
        DriftError: The window has no rows.
    """
    if not current.num_rows:
        raise DriftError(
            "The current window has no rows.", where=FEATURES_TABLE, remedy="Run churn_ingest for its days."
        )
    level = SIGNIFICANCE / max(1, len(profile.features))
    columns = dict(zip(current.column_names, current.columns, strict=True))
    gone = pa.chunked_array([pa.nulls(current.num_rows, pa.float64())])
    found = [
        _feature(name, reference, Values.of_column(columns.get(name, gone), reference.kind), limits, level)
        for name, reference in profile.features.items()
    ]
    found = [item if item.name in columns else replace(item, reason=_GONE) for item in found]
    found.sort(key=lambda item: (not item.drifted, item.drifted and not item.counts, -item.severity, item.name))
    severity = max((item.severity for item in found if item.counts), default=0.0)
    return DayDrift(severity, severity >= limits.multiplier, current.num_rows, tuple(found))


def judge(
    days: Mapping[dt.date, DayDrift],
    limits: DriftLimits,
    has_time: bool,
    sources: Mapping[dt.date, float] | None = None,
) -> DriftVerdict:
    """Return the verdict over the last days.

    Args:
        days: The results of the last ``of_days`` days in gold, up to the monitored day, in the order of days.
        limits: The project's limits.
        has_time: Whether the data has time; otherwise the verdict depends on the newest delivery only.
        sources: The largest severity of the sources that count, by day (see ``source_severity``); by default, the
            verdict depends on features and scores only.
    """
    wanted, of = (limits.exceeded_days, limits.of_days) if has_time else (1, 1)
    of_sources = {day: (sources or {}).get(day, 0.0) for day in days}
    severities = {day: max(result.severity, of_sources[day]) for day, result in days.items()}
    exceeding = tuple(day for day, result in days.items() if result.exceeds or of_sources[day] >= limits.multiplier)
    drifted = len(exceeding) >= wanted
    shown_day = exceeding[-1] if drifted else list(days)[-1]
    shown = days[shown_day]
    reason = (
        f"{len(exceeding)} of the last {counted(len(days), 'day')} exceed the limits; drift requires {wanted} of {of}. "
        f"On {shown_day}, {len(shown.drifted_features)} of {counted(len(shown.features), 'feature')} drifted"
    )
    informing = len(shown.informing_features)
    reason += f", and {informing} with little influence on the model." if informing else "."
    return DriftVerdict(drifted, reason, limits.promise, severities, exceeding, shown_day, shown)


def _feature(
    name: str, reference: NumberProfile | CategoryProfile, values: Values, limits: DriftLimits, level: float
) -> FeatureDrift:
    found = changes(reference, values)
    severities = [_severity(change, reference, level) for change in found]
    worst = max(range(len(found)), key=severities.__getitem__)
    change, severity = found[worst], severities[worst]
    limit = _limit(change.rule, reference)
    if not values.present and reference.values:
        reason = "all values are missing"
    elif len(found) == 1 and not severity:
        reason = f"fewer than {MIN_VALUES} values on one side; only the missing rate was compared"
    elif not severity:
        reason = f"no significant change: {change.text}"
    else:
        reason = f"{change.text}; limit {limit:.3g}"
    return FeatureDrift(
        name=name,
        influence=reference.influence,
        counts=reference.influence >= limits.min_influence,
        drifted=severity >= limits.multiplier,
        severity=severity,
        rule=change.rule,
        statistic=change.statistic,
        limit=limit,
        p_value=change.p_value,
        missing_reference=1 - reference.values / reference.rows,
        missing_current=1 - values.present / values.rows,
        reason=reason,
    )


def _limit(rule: Rule, reference: NumberProfile | CategoryProfile) -> float:
    return max(FLOORS[rule], reference.natural.get(rule, 0.0))


def _severity(change: Change, reference: NumberProfile | CategoryProfile, level: float) -> float:
    return change.statistic / _limit(change.rule, reference) if change.p_value < level else 0.0
