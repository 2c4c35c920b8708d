from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.training.data.splits import (
    TimeSplit,
    TooFewCustomersError,
    TooFewSnapshotsError,
    split_by_time,
    stratified_folds,
    stratified_test,
    time_folds,
)

START = dt.date(2017, 1, 1)
days_strategy = st.sets(st.integers(0, 400), min_size=1, max_size=60).map(
    lambda offsets: [START + dt.timedelta(days=offset) for offset in offsets]
)


def weekly(count: int) -> list[dt.date]:
    return [START + dt.timedelta(days=7 * week) for week in range(count)]


def assert_no_overlap(split: TimeSplit, horizon: int) -> None:
    test_days = set(split.test)
    for day in split.train:
        window = {day + dt.timedelta(days=ahead) for ahead in range(1, horizon + 1)}
        assert not window & test_days
        assert max(window) < min(test_days)


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


populations = st.lists(st.booleans(), min_size=12, max_size=120).filter(
    lambda labels: 3 <= sum(labels) <= len(labels) - 3
)


def ids(count: int) -> list[str]:
    return [f"customer-{number}" for number in range(count)]


@given(labels=populations, share=st.floats(0.05, 0.9), seed=st.integers(0, 1000), data=st.data())
def test_split_ignores_row_order(labels, share, seed, data) -> None:
    customers, churned = ids(len(labels)), np.array(labels, dtype=np.int8)
    order = data.draw(st.permutations(range(len(labels))))
    test = stratified_test(customers, churned, share, seed)
    shuffled = stratified_test([customers[at] for at in order], churned[order], share, seed)
    assert {customers[at] for at in np.flatnonzero(test)} == {customers[order[at]] for at in np.flatnonzero(shuffled)}


@given(labels=populations, share=st.floats(0.05, 0.9), seed=st.integers(0, 1000))
def test_both_labels_are_in_training_and_test(labels, share, seed) -> None:
    churned = np.array(labels, dtype=np.int8)
    test = stratified_test(ids(len(labels)), churned, share, seed)
    for label in (0, 1):
        members = int((churned == label).sum())
        assert abs(int(test[churned == label].sum()) - share * members) <= 1
        assert 0 < test[churned == label].sum() < members


@given(labels=populations, folds=st.integers(2, 3), seed=st.integers(0, 1000))
def test_folds_partition_customers_evenly(labels, folds, seed) -> None:
    churned = np.array(labels, dtype=np.int8)
    masks = stratified_folds(ids(len(labels)), churned, folds, seed)
    assert (np.sum(masks, axis=0) == 1).all()
    for label in (0, 1):
        counts = [int(mask[churned == label].sum()) for mask in masks]
        assert max(counts) - min(counts) <= 1


def test_later_delivery_keeps_test_customers() -> None:
    rng = np.random.default_rng(1)
    churned = (rng.random(2000) < 0.2).astype(np.int8)
    before = stratified_test(ids(1900), churned[:1900], 0.2, seed=5)
    after = stratified_test(ids(2000), churned, 0.2, seed=5)
    assert np.mean(after[:1900] != before) < 0.02
    assert np.mean(stratified_test(ids(2000), churned, 0.2, seed=6) != after) > 0.2


def test_rejects_too_few_customers_of_a_label() -> None:
    churned = np.array([1] + [0] * 20, dtype=np.int8)
    with pytest.raises(TooFewCustomersError, match=r"1 churner and 20 customers who stay.*label\.yaml"):
        stratified_test(ids(21), churned, 0.2, seed=1)
    with pytest.raises(TooFewCustomersError, match="too few for 5 folds"):
        stratified_folds(ids(10), np.array([1, 1] + [0] * 8, dtype=np.int8), 5, seed=1)
