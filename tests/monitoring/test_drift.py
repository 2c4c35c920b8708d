"""Drift rules: properties of every pair of windows, and their power on simulated changes."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.monitoring.drift import DriftError, DriftVerdict, FeatureDrift, detect_drift
from include.projects.features import Aggregate, Attribute, FeatureSpec, Validation
from include.projects.monitoring import Monitoring

MONITORING = Monitoring(window_days=7, min_drifted_features=1, retrain_on_drift=True, sample_rows=2000)
AMOUNT = FeatureSpec(
    name="amount",
    description="",
    type="aggregation",
    calculation=Aggregate(function="mean", source="events", column="amount"),
)
SEGMENT = FeatureSpec(
    name="segment",
    description="",
    type="derived",
    calculation=Attribute(function="attribute", source="people", column="segment"),
    validation=Validation(categories=["a", "b", "c"]),
)
SPECS = [AMOUNT, SEGMENT]

numbers = st.one_of(
    st.just(math.nan), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, allow_subnormal=False), st.just(math.inf)
)
row = st.tuples(numbers, st.sampled_from(["a", "b", "c", "unknown", None]))
frames = st.lists(row, min_size=1, max_size=120).map(
    lambda rows: pd.DataFrame(rows, columns=["amount", "segment"]).astype({"amount": float, "segment": object})
)
quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def amounts(values: object) -> pd.DataFrame:
    return pd.DataFrame({"amount": np.asarray(values, dtype=float)})


def normal(rows: int, mean: float = 0.0, sd: float = 1.0, seed: int = 1) -> pd.DataFrame:
    return amounts(np.random.default_rng(seed).normal(mean, sd, rows))


def only(verdict: DriftVerdict) -> FeatureDrift:
    (feature,) = verdict.features
    return feature


@quick
@given(frames)
def test_window_does_not_drift_from_itself(frame: pd.DataFrame) -> None:
    verdict = detect_drift(frame, frame, SPECS, MONITORING)
    assert not verdict.drifted
    assert verdict.drifted_features == []


@quick
@given(frames, frames, st.integers(0, 99))
def test_row_order_is_irrelevant(reference: pd.DataFrame, current: pd.DataFrame, seed: int) -> None:
    shuffled = reference.sample(frac=1, random_state=seed), current.sample(frac=1, random_state=seed + 1)
    straight, mixed = detect_drift(reference, current, SPECS, MONITORING), detect_drift(*shuffled, SPECS, MONITORING)
    by_name = {feature.name: feature for feature in mixed.features}
    for feature in straight.features:
        assert by_name[feature.name].drifted == feature.drifted
        assert by_name[feature.name].statistic == pytest.approx(feature.statistic, rel=1e-6, abs=1e-9)


@quick
@given(frames, frames)
def test_figures_are_never_nan(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    # Strict JSON has neither NaN nor infinity.
    json.dumps(detect_drift(reference, current, SPECS, MONITORING).as_dict(), allow_nan=False)


def test_small_shift_in_two_thousand_rows_is_detected() -> None:
    feature = only(detect_drift(normal(2000), normal(2000, mean=0.25, seed=2), SPECS[:1], MONITORING))
    assert feature.drifted
    assert feature.statistic == pytest.approx(0.25, abs=0.06)


def test_larger_variance_is_detected() -> None:
    assert only(detect_drift(normal(2000), normal(2000, sd=1.3, seed=2), SPECS[:1], MONITORING)).rule == "wasserstein"


@pytest.mark.parametrize("seed", range(5))
def test_random_difference_of_few_skewed_rows_is_not_drift(seed: int) -> None:
    rng = np.random.default_rng(seed)
    before, after = (amounts(np.exp(1.5 * rng.standard_normal(200))) for _ in range(2))
    feature = only(detect_drift(before, after, SPECS[:1], MONITORING))
    assert not feature.drifted


def test_increase_of_missing_values_is_detected() -> None:
    before, after = normal(2000), normal(2000, seed=2)
    before.loc[:99, "amount"], after.loc[:399, "amount"] = np.nan, np.nan
    feature = only(detect_drift(before, after, SPECS[:1], MONITORING))
    assert feature.rule == "missing"
    assert (feature.missing_reference, feature.missing_current) == (0.05, 0.2)


def test_column_that_loses_all_values_drifts() -> None:
    feature = only(detect_drift(normal(500), amounts([np.nan] * 500), SPECS[:1], MONITORING))
    assert feature.rule == "missing"
    assert "0.0% → 100.0%" in feature.reason


def test_column_without_values_in_both_windows_does_not_drift() -> None:
    empty = amounts([np.nan] * 500)
    assert not only(detect_drift(empty, empty, SPECS[:1], MONITORING)).drifted


def test_changed_constant_drifts() -> None:
    assert only(detect_drift(amounts([5.0] * 500), amounts([6.0] * 500), SPECS[:1], MONITORING)).drifted


def test_category_drifts_only_beyond_the_share_threshold() -> None:
    def segments(share_a: float) -> pd.DataFrame:
        count = round(20_000 * share_a)
        return pd.DataFrame({"segment": ["a"] * count + ["b"] * (20_000 - count)})

    assert not only(detect_drift(segments(0.5), segments(0.53), SPECS[1:], MONITORING)).drifted
    assert only(detect_drift(segments(0.5), segments(0.56), SPECS[1:], MONITORING)).rule == "category_share"


def test_new_category_is_detected() -> None:
    before, after = (pd.DataFrame({"segment": ["a"] * a + [other] * 200}) for a, other in ((800, "b"), (800, "new")))
    assert only(detect_drift(before, after, SPECS[1:], MONITORING)).rule == "category_share"


def test_features_that_drift_by_construction_are_not_compared() -> None:
    tenure = AMOUNT.model_copy(update={"drifts_by_construction": True})
    verdict = detect_drift(normal(500), normal(500, mean=9), [tenure], MONITORING)
    assert verdict.left_out == ("amount",)
    assert not verdict.drifted


def test_verdict_requires_min_drifted_features() -> None:
    two = MONITORING.model_copy(update={"min_drifted_features": 2})
    verdict = detect_drift(normal(500), normal(500, mean=3), SPECS[:1], two)
    assert len(verdict.drifted_features) == 1
    assert not verdict.drifted


def test_empty_window_and_missing_column_are_errors() -> None:
    with pytest.raises(DriftError, match="no rows"):
        detect_drift(normal(10), normal(10).head(0), SPECS[:1], MONITORING)
    with pytest.raises(DriftError, match="'amount'"):
        detect_drift(normal(10), pd.DataFrame({"other": [1.0]}), SPECS[:1], MONITORING)
