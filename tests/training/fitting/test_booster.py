from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from include.training.fitting.booster import Hyperparameters, fit, shift_between_values

WIDEST = float(np.finfo(np.float32).max)
columns = arrays(
    np.float32,
    st.tuples(st.integers(1, 30), st.just(1)),
    elements=st.floats(-WIDEST, WIDEST, width=32) | st.integers(-3, 3).map(float) | st.just(float("nan")),
)


@given(columns)
def test_every_value_is_on_the_same_side_of_a_moved_value_as_of_the_value(matrix: np.ndarray) -> None:
    moved = shift_between_values(matrix)
    assert np.array_equal(np.isnan(moved), np.isnan(matrix))
    assert np.array_equal(matrix < moved.T, matrix < matrix.T)
    assert np.array_equal(moved < moved.T, matrix < matrix.T)


def test_a_customer_who_is_nearly_at_a_count_is_treated_like_one_who_is() -> None:
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
