from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.training.data.splits import TimeSplit, TooFewSnapshotsError, split_by_time, time_folds

START = dt.date(2017, 1, 1)
days_strategy = st.sets(st.integers(0, 400), min_size=1, max_size=60).map(
    lambda offsets: [START + dt.timedelta(days=offset) for offset in offsets]
)


def weekly(count: int) -> list[dt.date]:
    return [START + dt.timedelta(days=7 * week) for week in range(count)]


def assert_no_overlap(split: TimeSplit, horizon: int) -> None:
    asked = set(split.test)
    for day in split.train:
        window = {day + dt.timedelta(days=ahead) for ahead in range(1, horizon + 1)}
        assert not window & asked
        assert max(window) < min(asked)


@given(days=days_strategy, horizon=st.integers(1, 60), test_snapshots=st.integers(1, 10))
def test_training_labels_end_before_the_test(days: list[dt.date], horizon: int, test_snapshots: int) -> None:
    try:
        split = split_by_time(days, horizon, test_snapshots)
    except TooFewSnapshotsError:
        ordered = sorted(days)
        first = ordered[max(0, len(ordered) - test_snapshots)]
        assert len(ordered) <= test_snapshots or ordered[0] + dt.timedelta(days=horizon) >= first
        return
    assert_no_overlap(split, horizon)
    assert split.test == tuple(sorted(days)[-test_snapshots:])


@given(days=days_strategy, horizon=st.integers(1, 60), folds=st.integers(2, 5))
def test_folds_have_no_overlap(days: list[dt.date], horizon: int, folds: int) -> None:
    try:
        splits = time_folds(days, horizon, folds)
    except TooFewSnapshotsError:
        return
    assert len(splits) == folds
    for split in splits:
        assert split.train
        assert_no_overlap(split, horizon)
    validated = [day for split in splits for day in split.test]
    assert validated == sorted(set(validated))
    assert validated[-1] == max(days)


def test_gap_is_exactly_one_horizon() -> None:
    split = split_by_time(weekly(37), horizon_days=28, test_snapshots=8)
    assert len(split.test) == 8
    assert split.test[0] - split.train[-1] == dt.timedelta(days=35)
    assert len(split.train) == 37 - 8 - 4


def test_folds_train_on_the_earlier_half() -> None:
    splits = time_folds(weekly(25), horizon_days=28, folds=3)
    assert [len(split.test) for split in splits] == [4, 4, 4]
    assert [len(split.train) for split in splits] == [9, 13, 17]


def test_too_few_snapshots_names_the_missing_number() -> None:
    with pytest.raises(TooFewSnapshotsError, match="about 3 are missing"):
        split_by_time(weekly(10), horizon_days=28, test_snapshots=8)
    with pytest.raises(TooFewSnapshotsError, match="0 matured snapshots"):
        split_by_time([], horizon_days=28, test_snapshots=8)
    assert split_by_time(weekly(13), horizon_days=28, test_snapshots=8).train


def test_too_few_snapshots_for_folds_names_the_missing_number() -> None:
    with pytest.raises(TooFewSnapshotsError, match="about 2 are missing"):
        time_folds(weekly(6), horizon_days=28, folds=3)
    assert time_folds(weekly(8), horizon_days=28, folds=3)
