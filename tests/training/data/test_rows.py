from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from include.training.data.rows import Rows, customer_folds, sample_customers
from tests.training.searches import drawn_rows

ROWS = drawn_rows()


def customers(rows: Rows) -> set[str]:
    return set(rows.customers.to_pylist())


def test_all_rows_are_used_without_a_sample() -> None:
    assert sample_customers(ROWS, None, seed=1) is ROWS
    assert sample_customers(ROWS, len(ROWS), seed=1) is ROWS


@settings(max_examples=20, deadline=None)
@given(wanted=st.integers(100, 2_999), more=st.integers(100, 2_999), seed=st.integers(0, 99), order=st.integers(0, 99))
def test_sample_has_whole_customers_and_ignores_row_order(wanted: int, more: int, seed: int, order: int) -> None:
    sample = sample_customers(ROWS, wanted, seed)
    assert set(Counter(sample.customers.to_pylist()).values()) == {3}
    assert wanted <= len(sample) < wanted + 3
    assert len(sample.matrix) == len(sample.churned) == len(sample.days) == sample.features.num_rows
    np.testing.assert_array_equal(sample.features["f0"].to_numpy(), sample.matrix[:, 0])

    shuffled = np.random.default_rng(order).permutation(len(ROWS))
    moved = Rows(
        ROWS.days[shuffled],
        ROWS.customers.take(shuffled),
        ROWS.features.take(shuffled),
        ROWS.matrix[shuffled],
        ROWS.churned[shuffled],
    )
    assert customers(sample_customers(moved, wanted, seed)) == customers(sample)
    smaller, larger = sorted([wanted, more])
    assert customers(sample_customers(ROWS, smaller, seed)) <= customers(sample_customers(ROWS, larger, seed))


def test_other_seed_draws_other_customers() -> None:
    assert customers(sample_customers(ROWS, 300, seed=1)) != customers(sample_customers(ROWS, 300, seed=2))


@given(folds=st.integers(2, 7), seed=st.integers(0, 99))
def test_folds_hold_whole_customers_with_equal_shares_of_churners(folds: int, seed: int) -> None:
    fold = customer_folds(ROWS, folds, seed)
    members = [customers(ROWS.where(fold == number)) for number in range(folds)]
    assert sum(len(one) for one in members) == len(set().union(*members)) == len(customers(ROWS))
    assert max(len(one) for one in members) - min(len(one) for one in members) <= 1
    churners = [int(ROWS.churned[fold == number].sum()) for number in range(folds)]
    assert max(churners) - min(churners) <= 3, "the rows of a customer"
