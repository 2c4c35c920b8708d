"""Backtest of the drift rule: replay it on the project's own past, and count the verdicts.

Each past day is compared with the reference that a model trained on schedule would have had on that day, with the
natural variation known at that time. Windows overlap and seasons count, as in production. The past is assumed to be
free of drift: a real change in the past counts as an alarm, too.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa
from scipy import stats

from include.errors import ChurnflowError
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE
from include.monitoring.drift import detect_drift
from include.monitoring.windows import current_window, with_scores
from include.projects import Project
from include.projects.monitoring import Backtest, DriftLimits
from include.training.data.splits import TooFewSnapshotsError, split_by_time, time_folds
from include.training.evaluation.change import Values
from include.training.evaluation.reference import profile_feature, snapshot_pairs
from include.training.model.bundle import Bundle
from include.training.model.reference_profile import SCORE, ReferenceProfile, read_profile

MULTIPLIERS = (1.0, 1.25, 1.5, 2.0, 3.0)
PERSISTENCE = ((1, 1), (2, 3), (3, 5))
"""The settings that are compared: the days that must exceed, of the judged days."""

_CONFIDENCE = 0.95
_DAYS_A_YEAR = 365.25


class BacktestError(ChurnflowError):
    """The past is too short for a backtest."""


@dataclass(frozen=True)
class ReplayedDay:
    """The result of one past day.

    Attributes:
        severity: The largest severity of the features that count.
        feature: The feature with this severity.
        reason: Its change in words.
    """

    severity: float
    feature: str
    reason: str


@dataclass(frozen=True)
class Outcome:
    """The verdicts of one setting of the drift rule on the replayed days.

    Attributes:
        multiplier: The multiplier.
        exceeded_days: The days that must exceed.
        of_days: The judged days.
        verdict_days: The number of days with the verdict drift.
        alarms: The first day of each run of days with the verdict drift.
        days: The number of days that the replayed windows represent; see ``exposure``.
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
        return Backtest(through=through, days=self.days, alarms=len(self.alarms), upper95_per_year=upper)


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
    """Return the number of days after which the upper bound is within the budget, with a given number of alarms."""
    return int(np.ceil(upper_bound(alarms) / budget_per_year * _DAYS_A_YEAR))


def exposure(days: Sequence[dt.date], window_days: int) -> int:
    """Return the number of calendar days in the windows that end with ``days``.

    Gold may contain one day a week. Its window then represents the whole week.

    Args:
        days: The replayed days, sorted, at least one.
        window_days: The length of a window.
    """
    gaps = [(later - day).days for day, later in zip(days, days[1:], strict=False)]
    return 1 + sum(min(gap, window_days) for gap in gaps)


def outcome(
    severities: Mapping[dt.date, float], multiplier: float, exceeded_days: int, of_days: int, window_days: int
) -> Outcome:
    """Return the verdicts of one setting.

    Args:
        severities: The largest severity of each replayed day, in the order of days.
        multiplier: A day exceeds if its severity reaches this value.
        exceeded_days: The days that must exceed for a verdict.
        of_days: The judged days, up to each day.
        window_days: The length of a window.
    """
    days = list(severities)
    exceeds = np.array([severity >= multiplier for severity in severities.values()])
    counts = np.convolve(exceeds, np.ones(of_days, dtype=int))[: len(days)]
    verdict = counts >= exceeded_days
    starts = verdict & ~np.concatenate([[False], verdict[:-1]])
    alarms = tuple(days[position] for position in np.flatnonzero(starts))
    return Outcome(multiplier, exceeded_days, of_days, int(verdict.sum()), alarms, exposure(days, window_days))
