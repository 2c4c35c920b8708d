"""Splits by time, with a gap of one horizon: what a model learns from was known before what it is judged on began."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from include.errors import ChurnflowError


class TooFewSnapshotsError(ChurnflowError):
    """There are not enough matured snapshots for a split with gaps."""


@dataclass(frozen=True)
class TimeSplit:
    """Snapshot days to learn from and, after a gap, snapshot days to be judged on; both sorted, neither empty."""

    train: tuple[dt.date, ...]
    test: tuple[dt.date, ...]


def split_by_time(days: Iterable[dt.date], horizon_days: int, test_snapshots: int) -> TimeSplit:
    """Return the last ``test_snapshots`` days as the test, and as training what lies a whole horizon before them.

    The label of a training day ``D`` looks at ``(D, D + horizon_days]``; that window ends before the first test day, so
    that no day is both in a training label and in what the test is asked about.

    Raises:
        TooFewSnapshotsError: Nothing is left to learn from; the message says how many snapshots are missing.

    Examples:
        >>> days = [dt.date(2017, 4, 2) + dt.timedelta(days=7 * week) for week in range(8)]
        >>> split = split_by_time(days, horizon_days=28, test_snapshots=2)
        >>> len(split.train), len(split.test)
        (2, 2)
    """
    ordered = tuple(sorted(set(days)))
    test = ordered[-test_snapshots:]
    train = _known_before(ordered, test[0], horizon_days) if len(ordered) > test_snapshots else ()
    if not train:
        raise TooFewSnapshotsError(
            f"{len(ordered)} matured snapshots are too few for a test of {test_snapshots}, a gap of {horizon_days} "
            f"days and training before it; about {_missing(ordered, test_snapshots, horizon_days)} are missing.",
            where="training data set",
            remedy="Ingest more days, or lower test_snapshots in the project's training.yaml.",
        )
    return TimeSplit(train, test)


def time_folds(days: Iterable[dt.date], horizon_days: int, folds: int) -> list[TimeSplit]:
    """Return ``folds`` splits of ``days``, each validating on a later block and learning from all days before its gap.

    The later half of the days is cut into equal blocks for validation, so that the first fold, too, learns from about
    as many snapshots as it leaves out.

    Raises:
        TooFewSnapshotsError: The first fold has nothing to learn from; the message says how many days are missing.
    """
    ordered = tuple(sorted(set(days)))
    block = max(1, len(ordered) // (2 * folds))
    starts = [len(ordered) - block * (folds - i) for i in range(folds)]
    if starts[0] < 0 or not _known_before(ordered, ordered[starts[0]], horizon_days):
        raise TooFewSnapshotsError(
            f"{len(ordered)} training snapshots are too few for {folds} folds with gaps of {horizon_days} days; "
            f"about {_missing(ordered, folds, horizon_days)} are missing.",
            where="training data set",
            remedy="Ingest more days, or lower cv_folds in the project's training.yaml.",
        )
    return [
        TimeSplit(_known_before(ordered, ordered[start], horizon_days), ordered[start : start + block])
        for start in starts
    ]


def _known_before(days: tuple[dt.date, ...], first: dt.date, horizon_days: int) -> tuple[dt.date, ...]:
    return tuple(day for day in days if day + dt.timedelta(days=horizon_days) < first)


def _missing(days: tuple[dt.date, ...], kept: int, horizon_days: int) -> int:
    spacing = min(((later - day).days for day, later in itertools.pairwise(days)), default=1)
    return max(1, kept + horizon_days // spacing + 1 - len(days))
