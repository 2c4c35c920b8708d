from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from include.training.fitting.booster import fit, shift_between_values
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
