"""Replay drift detection on the past, with the references that models trained on schedule would have had.

A training on a past day uses the snapshots whose horizon had passed. Its reference profile, with the natural variation
of these snapshots, is computed once, and is used for the days up to the next training.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import pyarrow as pa

from include.days import DayRange
from include.lake import Lake
from include.lake.day_parts import split_by_day
from include.lake.table_names import FEATURES_TABLE
from include.monitoring.source_health import counting_sources
from include.monitoring.source_rows import read_source_rows
from include.monitoring.windows import window_days, with_scores
from include.projects import Project
from include.training.data.rows import first_of_each
from include.training.data.splits import TooFewSnapshotsError, split_by_time, time_folds
from include.training.evaluation.change import Values
from include.training.evaluation.reference import profile_feature, snapshot_pairs
from include.training.model.bundle import Bundle
from include.training.model.reference_profile import SCORE, ReferenceProfile, read_profile

_BLOCK_DAYS = 7
"""The number of days whose windows are read together: the windows overlap, so this is faster than one read per day."""


@dataclass(frozen=True)
class PastDay:
    """A past day, ready for ``detect_drift``.

    Attributes:
        day: The day.
        profile: The reference profile of the model that would have served.
        window: The latest row of each customer in the window that ends with the day, with the model's scores.
        newest: The newest day of these rows.
    """

    day: dt.date
    profile: ReferenceProfile
    window: pa.Table
    newest: dt.date


class Replay:
    """The past of a project in gold.

    Args:
        project: The project, which has time.
        lake: The lake with ``gold/features`` and the silver tables.
        bundle: The model with which the influence of each feature and the scores are computed. Without a model, all
            features have the same influence, and there are no scores.
        last: The last day of the past.

    Attributes:
        source_rows: The number of rows of each source by day; see ``source_severity``.
        counting: The sources that count for the verdict.
    """

    def __init__(self, project: Project, lake: Lake, bundle: Bundle | None, last: dt.date) -> None:
        self._project = project
        self._table = lake.table(FEATURES_TABLE)
        self._days = self._table.days()
        self._bundle = bundle
        if bundle:
            profiles = read_profile(bundle).features
            self._columns = bundle.contract.feature_names
            self._influence = {name: profile.influence for name, profile in profiles.items()}
            self._kinds: dict[str, str] = {name: profile.kind for name, profile in profiles.items()}
        else:
            self._columns = [spec.name for spec in project.features]
            self._kinds = {spec.name: spec.dtype for spec in project.features if not spec.drifts_by_construction}
            self._influence = dict.fromkeys(self._kinds, 1.0)
        # Gold lacks a new feature until the next ingest.
        in_gold = {*self._table.schema().names, SCORE}
        self._columns = [name for name in self._columns if name in in_gold]
        self._kinds = {name: kind for name, kind in self._kinds.items() if name in in_gold}
        self._snapshots: dict[dt.date, dict[str, Values]] = {}
        self.source_rows = read_source_rows(lake, project, last)
        self.counting = counting_sources(project, self._influence)

    def days(self, span: DayRange) -> Iterator[PastDay]:
        """Yield the days of ``span`` in gold for which a model would have served, in their order.

        Args:
            span: The days to replay.
        """
        if span.last < self._project.first_snapshot:
            return
        trainings = [day for day in DayRange(self._project.first_snapshot, span.last) if self._is_training(day)]
        for training, following in pairwise([*trainings, span.last]):
            judged = [day for day in self._days if training < day <= following and day in span]
            if judged:
                profile = self.profile(training)
                for start in range(0, len(judged), _BLOCK_DAYS):
                    yield from self._past_days(judged[start : start + _BLOCK_DAYS], profile)

    def profile(self, training: dt.date) -> ReferenceProfile:
        """Return the reference profile of a model that is trained on ``training``.

        Args:
            training: A day on which enough snapshots are known for a training.
        """
        known = self._known_snapshots(training)
        span = DayRange.ending(known[-1], self._project.monitoring.window_days)
        days = [day for day in known if day in span]
        pairs = snapshot_pairs(self._project, known)
        self._read_snapshots(sorted({day for pair in pairs for day in pair} - set(self._snapshots)))
        latest = self._latest(self._read(days))
        return ReferenceProfile(
            days=tuple(days),
            rows=latest.num_rows,
            pairs=len(pairs),
            features={
                name: profile_feature(values, partial(self._snapshot, name), pairs, self._influence[name])
                for name, values in self._values(latest).items()
            },
        )

    def window(self, day: dt.date) -> pa.Table:
        """Return the latest row of each customer in the window that ends with ``day``, with the model's scores.

        Args:
            day: A day in gold.
        """
        return self._latest(self._read(window_days(self._project, self._days, day)))

    def _past_days(self, days: list[dt.date], profile: ReferenceProfile) -> Iterator[PastDay]:
        contents = {day: window_days(self._project, self._days, day) for day in days}
        parts = self._read(sorted({present for content in contents.values() for present in content}))
        for day, content in contents.items():
            window = self._latest({present: parts[present] for present in content})
            yield PastDay(day, profile, window, content[-1])

    def _is_training(self, day: dt.date) -> bool:
        if not self._project.is_training_due(DayRange.single(day)):
            return False
        horizon, training = self._project.label.horizon_days, self._project.training
        try:
            split = split_by_time(self._known_snapshots(day), horizon, training.test_snapshots)
            time_folds(split.train, horizon, training.cv_folds)
        except TooFewSnapshotsError:
            return False
        return True

    def _known_snapshots(self, day: dt.date) -> list[dt.date]:
        horizon = dt.timedelta(days=self._project.label.horizon_days)
        return [past for past in self._days if self._project.is_snapshot_day(past) and past + horizon <= day]

    def _read(self, days: Sequence[dt.date]) -> dict[dt.date, pa.Table]:
        return split_by_day(self._table.read(days, ["dt", "customer_id", *self._columns]))

    def _read_snapshots(self, days: list[dt.date]) -> None:
        for day, rows in self._read(days).items() if days else ():
            self._snapshots[day] = self._values(self._latest({day: rows}))

    def _snapshot(self, name: str, day: dt.date) -> Values:
        return self._snapshots[day][name]

    def _latest(self, parts: dict[dt.date, pa.Table]) -> pa.Table:
        rows = pa.concat_tables([parts[day] for day in sorted(parts, reverse=True)])
        latest = rows.select(self._columns).take(pa.array(first_of_each(rows["customer_id"])))
        return with_scores(latest, self._bundle) if self._bundle else latest

    def _values(self, rows: pa.Table) -> dict[str, Values]:
        return {name: Values.of_column(rows[name], kind) for name, kind in self._kinds.items()}
