"""Backtest of the drift rule: replay it on the project's own past, and count the verdicts.

The past is assumed to be free of drift, so a real change in the past also counts as an alarm.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from include.days import DayRange
from include.errors import ChurnflowError
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE
from include.monitoring.drift import detect_drift
from include.monitoring.replay import PastDay, Replay
from include.monitoring.source_health import source_severity
from include.plurals import counted
from include.projects import Project
from include.projects.monitoring import Backtest, DriftLimits
from include.training.model.bundle import Bundle

MULTIPLIERS = (1.0, 1.25, 1.5, 2.0, 3.0)
PERSISTENCE = ((1, 1), (2, 3), (3, 5))
"""The settings that are compared: the number of days that must exceed the limits, and the number of judged days."""

_CONFIDENCE = 0.95
_DAYS_A_YEAR = 365.25


class BacktestError(ChurnflowError):
    """The past is too short for a backtest."""


@dataclass(frozen=True)
class Outcome:
    """The verdicts of one setting of the drift rule on the replayed days.

    Attributes:
        multiplier: The multiplier.
        exceeded_days: The number of days that must exceed the limits.
        of_days: The number of judged days.
        verdict_days: The number of days with the verdict drift.
        alarms: The alarms: the first of consecutive days with the verdict drift.
        days: The number of days that the replayed windows represent; see ``represented_days``.
    """

    multiplier: float
    exceeded_days: int
    of_days: int
    verdict_days: int
    alarms: tuple[dt.date, ...]
    days: int

    @property
    def alarms_per_year(self) -> float:
        """The observed number of alarms a year."""
        return len(self.alarms) / self.days * _DAYS_A_YEAR

    @property
    def upper95_per_year(self) -> float:
        """The 95 % upper bound of the number of alarms a year."""
        return upper_bound(len(self.alarms)) / self.days * _DAYS_A_YEAR

    def record(self, through: dt.date) -> Backtest:
        """Return the outcome as ``monitoring.yaml`` records it."""
        upper = round(self.upper95_per_year, 2)
        return Backtest(
            through=through,
            days=self.days,
            alarms=len(self.alarms),
            upper95_per_year=upper,
            multiplier=self.multiplier,
            exceeded_days=self.exceeded_days,
            of_days=self.of_days,
        )


def upper_bound(events: int) -> float:
    """Return the exact one-sided 95 % upper bound of a Poisson mean.

    Source: Garwood, "Fiducial Limits for the Poisson Distribution", Biometrika 28, 1936.

    Args:
        events: The number of observed events.

    Example:
        >>> round(upper_bound(0), 3)
        2.996
    """
    return float(stats.chi2.ppf(_CONFIDENCE, 2 * (events + 1)) / 2)


def days_for_promise(budget_per_year: float, alarms: int = 0) -> int:
    """Return the number of past days that are needed to confirm the budget, with a given number of alarms."""
    return math.ceil(upper_bound(alarms) / budget_per_year * _DAYS_A_YEAR)


def represented_days(days: Sequence[dt.date], window_days: int) -> NDArray[np.int64]:
    """Return the calendar days that the replayed windows represent, each as the position of its replayed day.

    Gold may contain only one day a week. In production, the window of this day is judged again on each following day,
    up to the next snapshot.

    Args:
        days: The replayed days, sorted, at least one.
        window_days: The length of a window.
    """
    gaps = [min((later - day).days, window_days) for day, later in pairwise(days)]
    return np.repeat(np.arange(len(days)), [*gaps, gaps[-1] if gaps else 1])


def outcome(
    severities: Mapping[dt.date, float], multiplier: float, exceeded_days: int, of_days: int, window_days: int
) -> Outcome:
    """Return the verdicts of one setting.

    Args:
        severities: The largest severity of each replayed day, in the order of days.
        multiplier: A day exceeds the limits if its severity reaches this value.
        exceeded_days: The number of days that must exceed the limits for the verdict drift.
        of_days: The number of judged days, up to each day.
        window_days: The length of a window.
    """
    days = list(severities)
    positions = represented_days(days, window_days)
    exceeds = np.array([severity >= multiplier for severity in severities.values()])[positions]
    verdict = np.convolve(exceeds, np.ones(of_days, dtype=int))[: len(positions)] >= exceeded_days
    starts = verdict & ~np.concatenate([[False], verdict[:-1]])
    alarms = tuple(days[position] for position in positions[starts])
    return Outcome(multiplier, exceeded_days, of_days, int(verdict.sum()), alarms, len(positions))


@dataclass(frozen=True)
class LargestChange:
    """The largest change of a day, among the features and sources that count.

    Attributes:
        severity: The severity of the change.
        text: The change in words.
    """

    severity: float
    text: str


@dataclass(frozen=True)
class BacktestResult:
    """The outcome of a backtest.

    Attributes:
        limits: The project's limits.
        days: The largest change of each replayed day, in the order of days.
        configured: The outcome of the project's limits.
        settings: The outcomes of all compared settings, from the most to the least sensitive.
    """

    limits: DriftLimits
    days: Mapping[dt.date, LargestChange]
    configured: Outcome
    settings: tuple[Outcome, ...]

    @property
    def through(self) -> dt.date:
        """The last replayed day."""
        return list(self.days)[-1]

    @property
    def recommended(self) -> Outcome | None:
        """The most sensitive setting whose observed alarms are within the budget; None if there is none."""
        kept = (item for item in self.settings if item.alarms_per_year <= self.limits.budget_per_year)
        return next(kept, None)


def backtest(
    project: Project,
    lake: Lake,
    bundle: Bundle | None,
    span: DayRange,
    report: Callable[[dt.date, LargestChange], None] = lambda day, largest: None,
) -> BacktestResult:
    """Replay the drift rule on the days of ``span`` in gold, and count its verdicts.

    Args:
        project: The project.
        lake: The lake with ``gold/features``.
        bundle: The deployed model, with which the influence of each feature and the scores are computed; None if no
            model is deployed.
        span: The days to replay.
        report: Called after each day with its largest change.

    Raises:
        BacktestError: The data has no time, or ``span`` contains no day for which a model could have been trained.
    """
    if not project.has_time:
        raise BacktestError(
            "Data without time has no past to replay.",
            where=f"project {project.name}",
            remedy="Use the default limits.",
        )
    limits, days = project.monitoring.drift, {}
    replay = Replay(project, lake, bundle, span.last)
    for past in replay.days(span):
        days[past.day] = largest_change(project, replay, past)
        report(past.day, days[past.day])
    if not days:
        raise BacktestError(
            f"No model could have been trained before any day in {span} that gold contains.",
            where=FEATURES_TABLE,
            remedy="Ingest more history, or pass a later day.",
        )
    severities = {day: largest.severity for day, largest in days.items()}
    window_days = project.monitoring.window_days
    return BacktestResult(
        limits=limits,
        days=days,
        configured=outcome(severities, limits.multiplier, limits.exceeded_days, limits.of_days, window_days),
        settings=tuple(
            outcome(severities, multiplier, exceeded_days, of_days, window_days)
            for multiplier in MULTIPLIERS
            for exceeded_days, of_days in PERSISTENCE
        ),
    )


def largest_change(project: Project, replay: Replay, past: PastDay) -> LargestChange:
    """Return the largest change of a past day, among the features and sources that count.

    Args:
        project: The project.
        replay: The past, with the rows of the sources.
        past: The day.
    """
    drift = detect_drift(past.profile, past.window, project.monitoring.drift)
    trained_through = past.profile.days[-1]
    sources = source_severity(replay.source_rows, replay.counting, project, trained_through, past.day)
    if sources > drift.severity:
        return LargestChange(sources, "a source delivered fewer rows than usual")
    worst = max((item for item in drift.features if item.counts), key=lambda item: item.severity, default=None)
    return LargestChange(drift.severity, f"{worst.name}: {worst.reason}" if worst else "no feature counts")


def render(result: BacktestResult, has_model: bool) -> str:
    """Return the outcome of a backtest as text, with the lines for ``monitoring.yaml``.

    Args:
        result: The outcome.
        has_model: Whether the influence of the features is that of a model.
    """
    found, limits, days = result.configured, result.limits, list(result.days)
    lines = [
        f"{len(days):,} days in gold replayed, {days[0]} to {days[-1]}. Their windows represent {found.days:,} days.",
        *([] if has_model else ["No model is deployed: all features count equally, and there are no scores."]),
        "",
        "multiplier  exceeding  verdict days  alarms  alarms a year  95 % bound",
        *(_row(item) for item in result.settings),
        "",
        f"monitoring.yaml has multiplier {limits.multiplier:g}, {limits.exceeded_days} of {limits.of_days} days: "
        f"{counted(len(found.alarms), 'alarm')}. A real change in the past also counts as an alarm.",
        *(f"  {day}: {result.days[day].text}" for day in found.alarms),
        _promise(found, limits),
        _recommendation(result),
        "",
        "For monitoring.yaml:",
        yaml_lines(result),
    ]
    return "\n".join(lines)


def yaml_lines(result: BacktestResult) -> str:
    """Return the lines of ``monitoring.yaml`` that record the outcome of the project's limits."""
    found = result.configured.record(result.through)
    return (
        f"drift:\n  backtest: {{through: {found.through}, days: {found.days}, alarms: {found.alarms}, "
        f"upper95_per_year: {found.upper95_per_year:g}, multiplier: {found.multiplier!r}, "
        f"exceeded_days: {found.exceeded_days}, of_days: {found.of_days}}}"
    )


def _row(item: Outcome) -> str:
    exceeding = f"{item.exceeded_days} of {item.of_days}"
    return (
        f"{item.multiplier:10g}  {exceeding:>9}  {item.verdict_days:12,}  {len(item.alarms):6,}  "
        f"{item.alarms_per_year:13.2f}  {item.upper95_per_year:10.2f}"
    )


def _promise(found: Outcome, limits: DriftLimits) -> str:
    budget = f"the budget of {limits.budget_per_year:g} a year"
    if found.upper95_per_year <= limits.budget_per_year:
        return f"The 95 % bound, {found.upper95_per_year:.2f} alarms a year, is within {budget}."
    needed = days_for_promise(limits.budget_per_year)
    if found.alarms_per_year <= limits.budget_per_year:
        return (
            f"The observed alarms are within {budget}, but the history is too short to confirm it: the 95 % bound is "
            f"{found.upper95_per_year:.2f} a year. A confirmation needs {needed:,} days without an alarm."
        )
    return f"The observed alarms, {found.alarms_per_year:.2f} a year, exceed {budget}."


def _recommendation(result: BacktestResult) -> str:
    best = result.recommended
    if best is None:
        return "No compared setting has alarms within the budget."
    return (
        f"The most sensitive setting whose observed alarms are within the budget: multiplier {best.multiplier:g}, "
        f"{best.exceeded_days} of {best.of_days} days."
    )
