"""The drift verdict: severity of a feature, days that exceed the limits, and the verdict over the last days."""

from __future__ import annotations

import datetime as dt
import json
import math
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.monitoring.drift import DayDrift, DriftError, FeatureDrift, detect_drift, judge
from include.projects.monitoring import Backtest, DriftLimits
from include.training.evaluation.change import Values, describe
from include.training.model.reference_profile import ReferenceProfile

LIMITS = DriftLimits()
KINDS = {"amount": "number", "segment": "category"}

numbers = st.one_of(
    st.just(math.nan), st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, allow_subnormal=False), st.just(math.inf)
)
row = st.tuples(numbers, st.sampled_from(["a", "b", "c", "unknown", None]))
tables = st.lists(row, min_size=1, max_size=120).map(
    lambda rows: pa.table(
        {"amount": [number for number, _ in rows], "segment": pa.array([text for _, text in rows], pa.string())}
    )
)
quick = settings(max_examples=25, deadline=None)


def profile_of(reference: pa.Table, **changes: object) -> ReferenceProfile:
    """Return the profile of a table whose features all have the influence .5; ``changes`` replace their attributes."""
    described = {name: describe(Values.of_column(reference[name], KINDS[name])) for name in reference.column_names}
    features = {name: item.model_copy(update={"influence": 0.5} | changes) for name, item in described.items()}
    return ReferenceProfile(days=(), rows=reference.num_rows, pairs=0, features=features)


def amounts(values: object) -> pa.Table:
    return pa.table({"amount": np.asarray(values, dtype=float)})


def normal(rows: int, mean: float = 0.0, sd: float = 1.0, seed: int = 1) -> pa.Table:
    return amounts(np.random.default_rng(seed).normal(mean, sd, rows))


def only(result: DayDrift) -> FeatureDrift:
    (feature,) = result.features
    return feature


@quick
@given(tables)
def test_window_has_no_drift_against_its_own_profile(table: pa.Table) -> None:
    result = detect_drift(profile_of(table), table, LIMITS)
    assert not result.exceeds
    assert [feature.severity for feature in result.features] == [0, 0]


@quick
@given(tables, tables)
def test_results_are_never_nan(reference: pa.Table, current: pa.Table) -> None:
    # Strict JSON has neither NaN nor infinity.
    result = detect_drift(profile_of(reference), current, LIMITS)
    verdict = judge({dt.date(2024, 1, 1): result}, LIMITS, has_time=True)
    json.dumps(verdict.as_dict(), allow_nan=False)


@quick
@given(tables, tables)
def test_profile_is_unchanged_by_a_file(reference: pa.Table, current: pa.Table) -> None:
    profile = profile_of(reference)
    restored = ReferenceProfile.model_validate_json(profile.model_dump_json())
    assert detect_drift(restored, current, LIMITS) == detect_drift(profile, current, LIMITS)


@pytest.mark.parametrize("seed", range(5))
def test_equal_distributions_do_not_exceed(seed: int) -> None:
    profile = profile_of(normal(2000, seed=seed))
    assert not detect_drift(profile, normal(2000, seed=seed + 50), LIMITS).exceeds


def test_severity_grows_with_the_shift() -> None:
    profile = profile_of(normal(2000))
    found = [detect_drift(profile, normal(2000, mean, seed=2), LIMITS).severity for mean in (0.2, 0.4, 0.8, 3, 9)]
    assert found == sorted(found)
    assert found[0] > LIMITS.multiplier


def test_natural_variation_raises_the_limit() -> None:
    current = normal(2000, 0.25, seed=2)
    calm = only(detect_drift(profile_of(normal(2000)), current, LIMITS))
    seasonal = profile_of(normal(2000), natural={"wasserstein": 0.2, "ks": 0.1, "missing": 0.0})
    found = only(detect_drift(seasonal, current, LIMITS))
    assert (calm.drifted, found.drifted) == (True, False)
    assert (found.rule, found.limit) == ("wasserstein", 0.2)
    assert found.severity == pytest.approx(found.statistic / 0.2)


def test_smaller_natural_variation_than_the_floor_is_ignored() -> None:
    current = normal(2000, 0.25, seed=2)
    steady = profile_of(normal(2000), natural={"wasserstein": 0.001, "ks": 0.001, "missing": 0.0})
    assert detect_drift(steady, current, LIMITS) == detect_drift(profile_of(normal(2000)), current, LIMITS)


def test_change_that_is_not_significant_has_no_severity() -> None:
    # In samples of 40 rows, a difference of this size is frequent.
    result = only(detect_drift(profile_of(normal(40)), normal(40, 0.3, seed=2), LIMITS))
    assert result.statistic > 0.1
    assert (result.severity, result.drifted) == (0, False)
    assert result.reason.startswith("no significant change")


@quick
@given(st.floats(-1e30, 1e30), st.integers(30, 300))
def test_one_wrong_value_does_not_exceed(value: float, rows: int) -> None:
    reference = normal(rows)
    wrong = np.asarray(reference["amount"]).copy()
    wrong[0] = value
    assert not detect_drift(profile_of(reference), amounts(wrong), LIMITS).exceeds


def test_feature_without_influence_is_only_reported() -> None:
    profile = profile_of(normal(2000), influence=0.009)
    result = detect_drift(profile, normal(2000, 3, seed=2), LIMITS)
    assert (result.severity, result.exceeds, result.drifted_features) == (0, False, ())
    assert [feature.name for feature in result.informing_features] == ["amount"]
    verdict = judge({dt.date(2024, 1, 1): result}, LIMITS, has_time=False)
    assert not verdict.drifted
    assert "1 with little influence" in verdict.reason


@pytest.mark.parametrize("current", [amounts([np.nan] * 500), pa.table({"other": [1.0] * 500})])
def test_column_without_values_exceeds_the_limits(current: pa.Table) -> None:
    result = detect_drift(profile_of(normal(500)), current, LIMITS)
    feature = only(result)
    assert result.exceeds
    assert (feature.rule, feature.missing_current) == ("missing", 1)
    expected = "all values are missing" if "amount" in current.column_names else "gold no longer has this column"
    assert feature.reason == expected


def test_category_that_gold_lacks_exceeds_the_limits() -> None:
    reference = pa.table({"segment": ["a", "b"] * 250})
    assert detect_drift(profile_of(reference), pa.table({"other": [1.0] * 500}), LIMITS).exceeds


def test_column_without_values_on_both_sides_does_not_drift() -> None:
    empty = amounts([np.nan] * 500)
    assert detect_drift(profile_of(empty), empty, LIMITS).severity == 0


def test_category_drifts_only_beyond_its_limit() -> None:
    def segments(share_a: float) -> pa.Table:
        count = round(20_000 * share_a)
        return pa.table({"segment": ["a"] * count + ["b"] * (20_000 - count)})

    profile = profile_of(segments(0.5))
    assert not detect_drift(profile, segments(0.57), LIMITS).exceeds
    assert only(detect_drift(profile, segments(0.58), LIMITS)).rule == "category_share"


def test_drifted_features_that_count_are_listed_first() -> None:
    reference = pa.table({"amount": normal(500)["amount"], "segment": ["a", "b"] * 250})
    profile = profile_of(reference)
    features = profile.features | {"amount": profile.features["amount"].model_copy(update={"influence": 0.0})}
    current = pa.table({"amount": normal(500, 9)["amount"], "segment": ["a"] * 400 + ["b"] * 100})
    found = detect_drift(profile.model_copy(update={"features": features}), current, LIMITS)
    assert [feature.name for feature in found.features] == ["segment", "amount"]
    assert found.severity == found.features[0].severity < found.features[1].severity


def test_window_without_rows_is_an_error() -> None:
    with pytest.raises(DriftError, match="no rows"):
        detect_drift(profile_of(normal(10)), normal(10).slice(0, 0), LIMITS)


@pytest.mark.parametrize(
    ("exceeding", "drifted"), [("001", False), ("110", True), ("011", True), ("111", True), ("1", False), ("11", True)]
)
def test_verdict_requires_enough_of_the_last_days(exceeding: str, drifted: bool) -> None:
    result = detect_drift(profile_of(normal(500)), normal(500), LIMITS)
    first = dt.date(2024, 1, 1)
    days = {
        first + dt.timedelta(days=at): replace(result, exceeds=flag == "1", severity=float(flag))
        for at, flag in enumerate(exceeding)
    }
    verdict = judge(days, LIMITS, has_time=True)
    assert verdict.drifted == drifted
    assert verdict.reason.startswith(f"{exceeding.count('1')} of the last {len(days)} day")
    assert list(verdict.days.values()) == [float(flag) for flag in exceeding]
    plain = verdict.as_dict()
    assert [day["exceeds"] for day in plain["days"]] == [flag == "1" for flag in exceeding]


@pytest.mark.parametrize(("shifts", "shown"), [((3, 3, 0), 2), ((3, 0, 3), 3), ((0, 0, 3), 3), ((3, 0, 0), 3)])
def test_verdict_of_drift_shows_the_newest_day_that_exceeds(shifts: tuple[float, ...], shown: int) -> None:
    profile = profile_of(normal(500))
    days = {dt.date(2024, 1, at): detect_drift(profile, normal(500, by), LIMITS) for at, by in enumerate(shifts, 1)}
    verdict = judge(days, LIMITS, has_time=True)
    assert (verdict.shown_day, verdict.shown) == (dt.date(2024, 1, shown), days[dt.date(2024, 1, shown)])
    plain = verdict.as_dict()
    assert plain["features_day"] == f"2024-01-0{shown}"
    assert plain["drifted_features"] == (1 if shifts[shown - 1] else 0)


def test_profile_without_features_never_drifts() -> None:
    profile = ReferenceProfile(days=(), rows=500, pairs=0, features={})
    assert not detect_drift(profile, normal(500), LIMITS).exceeds


def test_newest_delivery_decides_without_time() -> None:
    result = detect_drift(profile_of(normal(500)), normal(500, 3), LIMITS)
    assert judge({dt.date(2024, 1, 1): result}, LIMITS, has_time=False).drifted


@pytest.mark.parametrize(
    ("upper", "expected"),
    [
        (
            None,
            "No backtest of these limits is recorded in monitoring.yaml, so the budget of 1 a year for false verdicts",
        ),
        (
            0.98,
            "Backtest: 0 false verdicts on 1,120 past days, at most 1.0 a year with 95 % confidence; the budget of 1 a",
        ),
        (5.5, "the budget of 1 a year is not confirmed."),
    ],
)
def test_statement_about_the_budget_depends_on_the_backtest(upper: float | None, expected: str) -> None:
    through = dt.date(2024, 1, 1)
    limits = {"multiplier": 1.5, "exceeded_days": 2, "of_days": 3}
    backtest = upper and Backtest(through=through, days=1_120, alarms=0, upper95_per_year=upper, **limits)
    assert expected in DriftLimits(backtest=backtest).promise
    for other in ({"multiplier": 1.25}, {"exceeded_days": 1}, {"of_days": 4}):
        assert "No backtest of these limits" in DriftLimits(**limits | other, backtest=backtest).promise
