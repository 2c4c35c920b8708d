"""Calibrators: rising curves, and their choice by forward validation."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.special import expit

from include.training.data.rows import Rows, RowSplit
from include.training.fitting.calibration import Calibration, choose_calibrator
from include.training.fitting.curves import fit_curve
from include.training.model.calibrator import Calibrator, Method

FITTED: tuple[Method, ...] = ("logistic", "beta", "isotonic")
FIRST = dt.date(2024, 1, 1)


def drawn(slope: float, intercept: float, rows: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Return log-odds of a booster, and labels with true log-odds that are a linear function of these."""
    random = np.random.default_rng(3)
    margins = random.normal(-2, 1.5, rows).astype(np.float32)
    churned = random.random(rows) < expit(slope * margins + intercept)
    return margins, churned.astype(np.int8)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, 0.3), (2.0, -0.5)])
def test_logistic_curve_has_the_true_slope_and_intercept(slope: float, intercept: float) -> None:
    found = fit_curve("logistic", *drawn(slope, intercept))
    assert found is not None
    assert found.slope == pytest.approx(slope, rel=0.06)
    assert found.intercept == pytest.approx(intercept, abs=0.1)


@pytest.mark.parametrize("method", FITTED)
def test_every_method_finds_the_true_probabilities(method: Method) -> None:
    margins, churned = drawn(0.5, -0.8)
    found = fit_curve(method, margins, churned)
    assert found is not None
    answers = found.probabilities(margins)
    assert answers.mean() == pytest.approx(churned.mean(), abs=2e-3)
    assert np.abs(answers - expit(0.5 * margins - 0.8)).mean() < 0.015


def test_no_curve_for_falling_churn_or_one_label() -> None:
    margins, churned = drawn(-0.5, 0.0)
    assert fit_curve("logistic", margins, churned) is None
    assert fit_curve("isotonic", margins, np.sort(churned)[np.argsort(np.argsort(-margins))]) is None
    assert all(fit_curve(method, margins, np.zeros_like(churned)) is None for method in FITTED)
    for labels in (churned, np.zeros_like(churned), np.ones_like(churned)):
        constant = fit_curve("base_rate", margins, labels)
        assert constant is not None
        assert not constant.ranks
        assert constant.probabilities(margins[:9]) == pytest.approx(np.full(9, labels.mean()), abs=1e-4)


@given(
    method=st.sampled_from(FITTED),
    margins=arrays(np.float32, st.integers(2, 300), elements=st.floats(-80, 80, width=32)),
    seed=st.integers(0, 99),
)
def test_curves_rise_between_zero_and_one_and_are_restored_from_json(
    method: Method, margins: np.ndarray, seed: int
) -> None:
    churned = (np.random.default_rng(seed).random(len(margins)) < 0.4).astype(np.int8)
    found = fit_curve(method, margins, churned)
    if found is None:
        return
    answers = found.probabilities(np.sort(np.append(margins, np.float32([-1e30, -300, 300, 1e30]))))
    assert answers.dtype == np.float32
    assert (np.diff(answers) >= 0).all()
    assert ((answers > 0) & (answers < 1)).all()
    again = Calibrator.model_validate_json(found.model_dump_json())
    assert again == found
    assert np.array_equal(again.log_odds(margins), found.log_odds(margins))


def test_isotonic_curve_keeps_the_ranking() -> None:
    margins, churned = drawn(0.5, -0.8)
    found = fit_curve("isotonic", margins, churned)
    assert found is not None
    assert (np.diff(found.log_odds(np.unique(margins))) > 0).all()


@pytest.mark.parametrize(
    "values",
    [
        {"method": "logistic", "slope": 0.0},
        {"method": "logistic", "slope": -1.0},
        {"method": "logistic", "slope": float("nan")},
        {"method": "logistic", "intercept": float("inf")},
        {"method": "none", "slope": 2.0},
        {"method": "logistic", "high_slope": 1.0},
        {"method": "beta", "slope": 1.0},
        {"method": "beta", "slope": 0.0, "high_slope": 0.0},
        {"method": "isotonic"},
        {"method": "isotonic", "knots": [(0.0, 0.0)]},
        {"method": "isotonic", "knots": [(0.0, 1.0), (1.0, 1.0)]},
        {"method": "isotonic", "knots": [(0.0, 1.0), (0.0, 2.0)]},
        {"method": "none", "knots": [(0.0, 1.0), (1.0, 2.0)]},
        {"method": "base_rate"},
    ],
)
def test_rejects_invalid_calibrators(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Calibrator.model_validate(values)


def weeks(
    shift: NDArray[np.float64], customers: int = 900, slope: float = 1.0, seed: int = 5
) -> tuple[NDArray[np.float32], Rows, list[RowSplit]]:
    """Return log-odds, rows and blocks of weekly snapshots.

    Args:
        shift: The true log-odds of each week, less those of the booster.
        customers: Customers of each week.
        slope: The true slope over the booster's log-odds.
        seed: The seed of the draws.
    """
    random, count = np.random.default_rng(seed), len(shift)
    week = np.repeat(np.arange(count), customers)
    log_odds = random.normal(-0.5, 1.0, len(week)).astype(np.float32)
    churned = (random.random(len(week)) < expit(slope * log_odds + shift[week])).astype(np.int8)
    rows = Rows(
        days=np.datetime64(FIRST, "D") + 7 * week,
        customers=pa.chunked_array([[f"c{i}" for i in range(customers)] * count]),
        features=pa.table({"x": log_odds}),
        matrix=log_odds[:, None],
        churned=churned,
    )
    starts = range(count - 12, count, 4)
    blocks = [RowSplit(week < start - 4, (week >= start) & (week < start + 4), f"from {start}") for start in starts]
    return log_odds, rows, blocks


def chosen(shift: NDArray[np.float64], **options: float) -> Calibration:
    return choose_calibrator(*weeks(shift, **options))  # type: ignore[arg-type]


def test_calibrated_booster_is_not_changed() -> None:
    found = chosen(np.zeros(30))
    assert (found.calibrator, found.warning) == (Calibrator(), "")


def test_overconfident_booster_gets_the_simplest_curve_that_fits() -> None:
    found = chosen(np.zeros(30), slope=0.4)
    assert found.calibrator.method == "logistic"
    assert found.chosen.window == "all"
    assert found.calibrator.slope == pytest.approx(0.4, abs=0.05)


def test_latest_rows_are_chosen_after_a_lasting_change_of_the_base_rate() -> None:
    shift = np.where(np.arange(40) < 20, -1.5, 0.5)
    found = chosen(shift)
    assert found.chosen.window == "latest"
    assert found.calibrator.probabilities(np.float32([-0.5])) == pytest.approx(expit(0.0), abs=0.03)


def test_season_before_the_gap_does_not_shift_the_probabilities() -> None:
    # A season of eight weeks in every sixteen: the latest rows predict the other season.
    season = np.where(np.arange(48) // 8 % 2 == 0, 1.0, -1.0)
    log_odds, rows, blocks = weeks(season)
    found = choose_calibrator(log_odds, rows, blocks)
    assert found.chosen.window == "all"
    latest = [score for score in found.scores if score.window == "latest"]
    assert all(score.log_loss > found.chosen.log_loss for score in latest)
    assert "changes so much that no calibrator is reliable" in found.warning
    assert any(not block.is_expected for block in found.blocks)


def test_booster_without_skill_predicts_the_base_rate() -> None:
    found = chosen(np.zeros(30), slope=-0.2)
    assert found.calibrator.method == "base_rate"
    assert "has no skill" in found.warning
    assert {score.method for score in found.scores} == {"base_rate"}


def test_data_without_time_is_validated_on_other_customers() -> None:
    log_odds, rows, _ = weeks(np.zeros(1), customers=3_000, slope=0.4)
    fold = np.arange(len(rows)) % 3
    found = choose_calibrator(log_odds, rows, [RowSplit(fold != k, fold == k, f"fold {k}") for k in range(3)])
    assert {score.window for score in found.scores} == {"all"}
    assert found.calibrator.slope == pytest.approx(0.4, abs=0.1)
    assert [block.name for block in found.blocks] == ["fold 0", "fold 1", "fold 2"]
