from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from include.training.fitting.booster import age_weights, fit, shift_between_values
from include.training.recipe import Hyperparameters

WIDEST = float(np.finfo(np.float32).max)
columns = arrays(
    np.float32,
    st.tuples(st.integers(1, 30), st.just(1)),
    elements=st.floats(-WIDEST, WIDEST, width=32) | st.integers(-3, 3).map(float) | st.just(float("nan")),
)


@given(columns)
def test_shift_keeps_the_order_of_values(matrix: np.ndarray) -> None:
    moved = shift_between_values(matrix)
    assert np.array_equal(np.isnan(moved), np.isnan(matrix))
    assert np.array_equal(matrix < moved.T, matrix < matrix.T)
    assert np.array_equal(moved < moved.T, matrix < matrix.T)


def test_values_near_a_count_have_equal_predictions() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 10, (2_000, 2)).astype(np.float32)
    churned = (rng.random(2_000) < np.where(counts[:, 0] < 4, 0.8, 0.2)).astype(np.int8)
    chosen = Hyperparameters(
        n_estimators=20, max_depth=3, learning_rate=0.3, subsample=1, colsample_bytree=1, min_child_weight=1
    )
    fitted = fit(counts, churned, ["sessions", "tickets"], chosen, seed=1, max_bin=64, device="cpu")
    exact = fitted.booster.inplace_predict(counts)
    assert exact.std() > 0.2
    for shift in (-0.4, 0.4):
        np.testing.assert_array_equal(fitted.booster.inplace_predict(counts + np.float32(shift)), exact)


@given(arrays(np.int64, st.integers(1, 20), elements=st.integers(0, 3_650)), st.floats(7, 400))
def test_weight_halves_with_each_half_life_of_age(ages: np.ndarray, half_life_days: float) -> None:
    weights = age_weights(np.datetime64("2024-01-01") - ages, half_life_days)
    np.testing.assert_allclose(weights.mean(), 1)
    newest = weights[ages.argmin()]
    np.testing.assert_allclose(weights, newest * 0.5 ** ((ages - ages.min()) / half_life_days))


def test_booster_follows_the_rows_with_weight() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(400, 1)).astype(np.float32)
    churned = (matrix[:, 0] > 0).astype(np.int8)
    churned[200:] = 1 - churned[200:]
    chosen = Hyperparameters(
        n_estimators=20, max_depth=1, learning_rate=0.3, subsample=1, colsample_bytree=1, min_child_weight=1
    )
    high = matrix[:, 0] > 0
    for heavy, riskier in ((slice(0, 200), high), (slice(200, 400), ~high)):
        weights = np.full(400, 0.1)
        weights[heavy] = 1.9
        fitted = fit(matrix, churned, ["a"], chosen, seed=1, max_bin=64, device="cpu", weights=weights)
        risk = fitted.booster.inplace_predict(matrix)
        assert risk[riskier].mean() > 0.8 > 0.2 > risk[~riskier].mean()
