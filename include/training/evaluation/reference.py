"""Build the reference profile of a model from the rows that it was fitted on.

The profile contains the natural variation of each feature, that is, its largest change between past snapshots that are
as far apart as the reference and the days on which the model serves. It includes the effects of seasons and trends.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from include.days import DayRange
from include.projects import Project
from include.training.data.rows import Rows, evenly_spaced, first_of_each
from include.training.evaluation.change import Values, changes, describe
from include.training.evaluation.importance import importances
from include.training.model.bundle import Bundle
from include.training.model.reference_profile import (
    SCORE,
    CategoryProfile,
    NumberProfile,
    ReferenceProfile,
    Rule,
)

_WEEK = 7
_MAX_PAIRS = 60
_MAX_ROWS = 20_000
"""The largest number of rows of a snapshot that are compared, which limits the time of the training."""

Positions = NDArray[np.int64]
SnapshotPair = tuple[dt.date, dt.date]
"""Two snapshots, the earlier first."""


def make_profile(project: Project, rows: Rows, bundle: Bundle, probabilities: NDArray[np.float32]) -> ReferenceProfile:
    """Return the reference profile of a model.

    The reference is the latest row of each customer in the ``window_days`` that end with the last training snapshot.
    Earlier snapshots are left out: with a whole year, the reference would mix all seasons, and the customers of many
    weeks would be compared with those of a single week. For data without time, the reference is the whole delivery.

    Args:
        project: The project: its features, label and intervals.
        rows: The n rows that the model was fitted on, with the features of its contract.
        bundle: The model.
        probabilities: The churn probability of each row by a model that was not fitted on the row's customer, shape
            (n,). The probabilities of the model itself are more extreme on its own training rows.
    """
    by_day = {day: np.flatnonzero(rows.on_days([day])) for day in rows.snapshot_days}
    latest = rows.snapshot_days[-1]
    span = DayRange.ending(latest, project.monitoring.window_days if project.has_time else 1)
    newest_first = np.concatenate([by_day[day] for day in reversed(by_day) if day in span])
    reference = np.sort(newest_first[first_of_each(rows.customers.take(newest_first))])
    excluded = {spec.name for spec in project.features if spec.drifts_by_construction}
    pairs = snapshot_pairs(project, rows.snapshot_days)
    found = {item.feature: item.mean_contribution for item in importances(bundle, rows.matrix[reference])}
    total = sum(found.values())

    features: dict[str, NumberProfile | CategoryProfile] = {}
    for position, feature in enumerate(bundle.contract.features):
        if feature.name not in excluded:
            read = partial(_values, rows, position, bool(feature.categories))
            influence = found.get(feature.name, 0.0) / total if total else 0.0
            features[feature.name] = profile_feature(read(reference), _by_day(read, by_day), pairs, influence)

    def scores(at: Positions) -> Values:
        return Values.of_numbers(probabilities[at])

    features[SCORE] = profile_feature(scores(reference), _by_day(scores, by_day), pairs, influence=1.0)
    return ReferenceProfile(
        days=tuple(day for day in by_day if day in span),
        rows=len(reference),
        pairs=len(pairs),
        features=features,
        left_out=tuple(name for name in bundle.contract.feature_names if name in excluded),
    )


def snapshot_pairs(project: Project, days: Sequence[dt.date]) -> list[SnapshotPair]:
    """Return at most 60 pairs of snapshots that are as far apart as the reference and a day on which its model serves.

    The labels of the last training snapshot become known one horizon after the snapshot. The training may follow some
    days later, at most the days between two snapshots. The model then serves until the next training.

    Args:
        project: The project: its label, its snapshots and the days between trainings.
        days: The snapshots, sorted.

    Returns:
        Pairs that are evenly spaced in time; none for data without time.
    """
    if not project.has_time:
        return []
    shortest = project.label.horizon_days
    longest = shortest + project.training.every_days + (_WEEK - 1 if project.snapshots else 0)
    pairs = [(first, last) for last, first in product(days, days) if shortest <= (last - first).days <= longest]
    return [pairs[position] for position in evenly_spaced(len(pairs), _MAX_PAIRS)] if pairs else []


def profile_feature(
    reference: Values, snapshot: Callable[[dt.date], Values], pairs: Sequence[SnapshotPair], influence: float
) -> NumberProfile | CategoryProfile:
    """Return the profile of one feature with its natural variation.

    Args:
        reference: The values of the reference.
        snapshot: Returns the values of a past snapshot.
        pairs: The pairs of past snapshots that are compared.
        influence: The feature's influence on the model, from 0 to 1.
    """
    values = {day: snapshot(day) for day in {day for pair in pairs for day in pair}}
    profiles = {day: describe(values[day]) for day in {first for first, _ in pairs}}
    natural: dict[Rule, float] = {}
    for first, last in pairs:
        for change in changes(profiles[first], values[last]):
            natural[change.rule] = max(natural.get(change.rule, 0.0), change.statistic)
    return describe(reference).model_copy(update={"influence": influence, "natural": natural})


def _values(rows: Rows, position: int, is_category: bool, at: Positions) -> Values:
    if is_category:
        return Values.of_texts(rows.features.column(position).take(at))
    return Values.of_numbers(rows.matrix[at, position])


def _by_day(read: Callable[[Positions], Values], positions: Mapping[dt.date, Positions]) -> Callable[[dt.date], Values]:
    def read_day(day: dt.date) -> Values:
        found = positions[day]
        return read(found[evenly_spaced(len(found), _MAX_ROWS)])

    return read_day
