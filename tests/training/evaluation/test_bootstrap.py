from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from include.training.evaluation.bootstrap import CustomerBootstrap, interval, lower_bound
from include.training.evaluation.metrics import WeightedRanking

few_rows = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.1, 0.2, 0.5, 0.9]), st.integers(0, 3)), min_size=2, max_size=25
)


@given(rows=few_rows)
def test_weights_equal_repeated_rows(rows: list[tuple[int, float, int]]) -> None:
    churned, scores, weights = (np.array(column) for column in zip(*rows, strict=True))
    found = WeightedRanking(churned.astype(np.int8), scores).auc_and_average_precision(weights.astype(float))
    repeated, their_scores = np.repeat(churned, weights), np.repeat(scores, weights)
    if len(np.unique(repeated)) < 2:
        assert np.isnan(found).all()
        return
    expected = (roc_auc_score(repeated, their_scores), average_precision_score(repeated, their_scores))
    assert found == pytest.approx(expected)


@given(value=st.floats(-1e6, 1e6), customers=st.integers(1, 20), seed=st.integers(0, 99))
def test_interval_of_equal_values_has_width_zero(value: float, customers: int, seed: int) -> None:
    bootstrap = CustomerBootstrap([f"c{number}" for number in range(customers)] * 2, 100, seed)
    ends = interval(bootstrap.means(np.full(customers * 2, value)))
    assert (ends.low, ends.high) == pytest.approx((value, value))


def test_rows_of_a_customer_are_drawn_together() -> None:
    bootstrap = CustomerBootstrap(["a", "b", "a", "c", "a"], 200, seed=1)
    for weights in bootstrap.weights():
        assert weights[0] == weights[2] == weights[4]
        assert weights[0] + weights[1] + weights[3] == bootstrap.customers


def test_draws_depend_on_customers_and_seed_only() -> None:
    customers, values = ["a", "b", "c", "d", "a"], np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    turned = CustomerBootstrap(customers[::-1], 100, seed=4).means(values[::-1])
    np.testing.assert_allclose(turned, CustomerBootstrap(customers, 100, seed=4).means(values))
    assert not np.allclose(turned, CustomerBootstrap(customers, 100, seed=5).means(values))


def test_correlated_rows_widen_the_interval() -> None:
    random = np.random.default_rng(2)
    of_customers = np.repeat(random.normal(size=60), 8)
    alike = interval(CustomerBootstrap([f"c{number // 8:03d}" for number in range(480)], 300, 1).means(of_customers))
    apart = interval(CustomerBootstrap([f"c{number:03d}" for number in range(480)], 300, 1).means(of_customers))
    assert alike.high - alike.low > 2 * (apart.high - apart.low)


def test_intervals_contain_the_true_mean_in_about_95_percent_of_samples() -> None:
    random = np.random.default_rng(8)
    names = [f"c{number:03d}" for number in range(150)]
    held = 0
    for _ in range(200):
        ends = interval(CustomerBootstrap(names, 200, 1).means(random.exponential(size=150)))
        held += ends.low <= 1.0 <= ends.high
    assert 0.88 <= held / 200 <= 0.99


def test_bounds_ignore_nan() -> None:
    resampled = np.append(np.arange(101.0), np.nan)
    assert lower_bound(resampled, 0.95) == pytest.approx(5)
    assert (interval(resampled).low, interval(resampled).high) == pytest.approx((2.5, 97.5))
