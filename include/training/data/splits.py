"""Splits into training and test, and into folds: by time with a gap of one horizon, or stratified by customer.

A time split has a gap, so that all training labels are known before the first test day. Data without time is split by
a hash of the customer's id, with equal shares of churners. A customer's part depends on the id, the seed and the label,
not on the order of the rows: a later delivery of the same table has the same test customers, except for a few at the
boundary, and a champion is evaluated on customers that it was not trained on.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from include.errors import ChurnflowError
from include.plurals import counted


class TooFewSnapshotsError(ChurnflowError):
    """There are too few matured snapshots for a split with gaps."""


class TooFewCustomersError(ChurnflowError):
    """There are too few churners, or too few customers who stay, for a split."""


@dataclass(frozen=True)
class TimeSplit:
    """Training days and, after a gap, test days; both sorted, neither empty. ``gap`` are the days between them."""

    train: tuple[dt.date, ...]
    test: tuple[dt.date, ...]
    gap: tuple[dt.date, ...] = ()


def split_by_time(days: Iterable[dt.date], horizon_days: int, test_snapshots: int) -> TimeSplit:
    """Split snapshot days into training days and the last ``test_snapshots`` days, with a gap of one horizon.

    The label of a training day ``D`` covers ``(D, D + horizon_days]``. This window ends before the first test day, so
    no day is both in a training label's window and in the test.

    Args:
        days: The matured snapshot days.
        horizon_days: Days that a label covers.
        test_snapshots: Number of test days.

    Raises:
        TooFewSnapshotsError: No training days are left; the message contains the number of missing snapshots.

    Example:
        >>> days = [dt.date(2017, 4, 2) + dt.timedelta(days=7 * week) for week in range(8)]
        >>> split = split_by_time(days, horizon_days=28, test_snapshots=2)
        >>> len(split.train), len(split.gap), len(split.test)
        (2, 4, 2)
    """
    ordered = tuple(sorted(set(days)))
    test = ordered[-test_snapshots:]
    train = _known_before(ordered, test[0], horizon_days) if len(ordered) > test_snapshots else ()
    if not train:
        raise TooFewSnapshotsError(
            f"{counted(len(ordered), 'matured snapshot')}: too few for a test of {test_snapshots}, a gap of "
            f"{counted(horizon_days, 'day')} and training before it; about "
            f"{_missing(ordered, test_snapshots, horizon_days)} are missing.",
            where="training data set",
            remedy="Ingest more days, or lower test_snapshots in the project's training.yaml.",
        )
    return TimeSplit(train, test, tuple(day for day in ordered if train[-1] < day < test[0]))


def time_folds(days: Iterable[dt.date], horizon_days: int, folds: int) -> list[TimeSplit]:
    """Return cross-validation folds: each has a block of validation days, and all days before a gap as training days.

    The later half of the days is cut into equal validation blocks, so that the first fold, too, trains on about half
    of the snapshots.

    Args:
        days: The training days.
        horizon_days: Days that a label covers, the length of the gap.
        folds: Number of folds.

    Raises:
        TooFewSnapshotsError: The first fold has no training days; the message contains the number of missing days.
    """
    ordered = tuple(sorted(set(days)))
    block = max(1, len(ordered) // (2 * folds))
    starts = [len(ordered) - block * (folds - i) for i in range(folds)]
    if starts[0] < 0 or not _known_before(ordered, ordered[starts[0]], horizon_days):
        raise TooFewSnapshotsError(
            f"{counted(len(ordered), 'training snapshot')}: too few for {folds} folds with gaps of "
            f"{counted(horizon_days, 'day')}; "
            f"about {_missing(ordered, folds, horizon_days)} are missing.",
            where="training data set",
            remedy="Ingest more days, or lower cv_folds in the project's training.yaml.",
        )
    return [
        TimeSplit(_known_before(ordered, ordered[start], horizon_days), ordered[start : start + block])
        for start in starts
    ]


def stratified_test(customers: Sequence[str], churned: NDArray[np.int8], share: float, seed: int) -> NDArray[np.bool_]:
    """Return which of n customers are in the test set: the same share of the churners and of the customers who stay.

    Args:
        customers: Their ids, all different.
        churned: Their labels, shape (n,).
        share: The share, in 0..1.
        seed: The seed of the draw.

    Raises:
        TooFewCustomersError: One of the labels has fewer than two customers.
    """
    _require_customers(churned, 2, "a training set and a test", "Deliver more customers")
    chosen = np.zeros(len(churned), dtype=bool)
    order = _hash_order(customers, seed)
    for label in (0, 1):
        members = order[churned[order] == label]
        wanted = min(max(1, round(len(members) * share)), len(members) - 1)
        chosen[members[:wanted]] = True
    return chosen


def stratified_folds(
    customers: Sequence[str], churned: NDArray[np.int8], folds: int, seed: int
) -> list[NDArray[np.bool_]]:
    """Return for each fold which of n customers are its validation rows; all others are its training rows.

    Args:
        customers: Their ids, all different.
        churned: Their labels, shape (n,).
        folds: Number of folds.
        seed: The seed of the draw.

    Raises:
        TooFewCustomersError: One of the labels has fewer customers than there are folds.
    """
    from sklearn.model_selection import StratifiedKFold  # takes seconds to import, and few callers need folds

    _require_customers(
        churned, folds, f"{folds} folds", "Deliver more customers, or lower cv_folds in the project's training.yaml"
    )
    order = _hash_order(customers, seed)
    masks = []
    for _, held_out in StratifiedKFold(folds).split(order, churned[order]):
        mask = np.zeros(len(churned), dtype=bool)
        mask[order[held_out]] = True
        masks.append(mask)
    return masks


def _known_before(days: tuple[dt.date, ...], first: dt.date, horizon_days: int) -> tuple[dt.date, ...]:
    return tuple(day for day in days if day + dt.timedelta(days=horizon_days) < first)


def _missing(days: tuple[dt.date, ...], kept: int, horizon_days: int) -> int:
    spacing = min(((later - day).days for day, later in itertools.pairwise(days)), default=1)
    return max(1, kept + horizon_days // spacing + 1 - len(days))


def _hash_order(customers: Sequence[str], seed: int) -> NDArray[np.int64]:
    hashes = [hashlib.sha256(f"{seed}:{customer}".encode()).digest() for customer in customers]
    return np.array(sorted(range(len(hashes)), key=hashes.__getitem__), dtype=np.int64)


def _require_customers(churned: NDArray[np.int8], least: int, purpose: str, remedy: str) -> None:
    churners = int(churned.sum())
    if min(churners, len(churned) - churners) < least:
        raise TooFewCustomersError(
            f"{counted(churners, 'churner')} and {counted(len(churned) - churners, 'customer')} who stay are too few "
            f"for {purpose}.",
            where="training data set",
            remedy=f"{remedy}, and check that label.yaml names the value that means churn.",
        )
