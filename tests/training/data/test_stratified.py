from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.training.data.splits import TooFewCustomersError, stratified_folds, stratified_test

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
    with pytest.raises(TooFewCustomersError, match=r"1 churners and 20 customers who stay.*label\.yaml"):
        stratified_test(ids(21), churned, 0.2, seed=1)
    with pytest.raises(TooFewCustomersError, match="too few for 5 folds"):
        stratified_folds(ids(10), np.array([1, 1] + [0] * 8, dtype=np.int8), 5, seed=1)
