from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError

from include.training.fitting.calibration import fit_calibrator
from include.training.model.calibrator import Calibrator


def drawn(slope: float, intercept: float, rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Return log-odds of a booster, and labels with true log-odds that are a linear function of these."""
    random = np.random.default_rng(3)
    margins = random.normal(-2, 1.5, rows).astype(np.float32)
    churned = random.random(rows) < 1 / (1 + np.exp(-(slope * margins + intercept)))
    return margins, churned.astype(np.int8)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, 0.3), (2.0, -0.5)])
def test_estimates_the_true_slope_and_intercept(slope: float, intercept: float) -> None:
    found = fit_calibrator(*drawn(slope, intercept))
    assert found.method == "logistic"
    assert found.slope == pytest.approx(slope, rel=0.06)
    assert found.intercept == pytest.approx(intercept, abs=0.1)


def test_calibrated_mean_equals_observed_churn() -> None:
    margins, churned = drawn(0.5, -0.8)
    assert fit_calibrator(margins, churned).probabilities(margins).mean() == pytest.approx(churned.mean(), abs=1e-4)


def test_no_calibration_for_falling_curve_or_one_label() -> None:
    margins, churned = drawn(-0.5, 0.0)
    assert fit_calibrator(margins, churned) == Calibrator()
    assert fit_calibrator(margins, np.zeros_like(churned)) == Calibrator()


@given(
    margins=arrays(np.float32, st.integers(1, 30), elements=st.floats(-80, 80, width=32)),
    slope=st.floats(1e-3, 1e3),
    intercept=st.floats(-50, 50),
)
def test_calibration_keeps_the_ranking(margins: np.ndarray, slope: float, intercept: float) -> None:
    calibrator = Calibrator(method="logistic", slope=slope, intercept=intercept)
    answers = calibrator.probabilities(np.sort(margins))
    assert answers.dtype == np.float32
    assert (np.diff(answers) >= 0).all()
    assert ((answers >= 0) & (answers <= 1)).all()


@pytest.mark.parametrize(
    "values",
    [
        {"method": "logistic", "slope": 0.0},
        {"method": "logistic", "slope": -1.0},
        {"method": "logistic", "slope": float("nan")},
        {"method": "logistic", "intercept": float("inf")},
        {"method": "none", "slope": 2.0},
    ],
)
def test_rejects_invalid_calibrators(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Calibrator.model_validate(values)
