"""Statistics of the change between a profile and new values."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from include.training.evaluation.change import Change, Values, changes, describe

quick = settings(max_examples=50, deadline=None)
floats = st.one_of(
    st.just(math.nan), st.just(math.inf), st.integers(-3, 3).map(float), st.floats(-1e30, 1e30, allow_subnormal=False)
)
columns = arrays.arrays(np.float64, st.integers(1, 120), elements=floats).map(Values.of_numbers)
texts = st.lists(st.sampled_from(["a", "b", "new", None]), min_size=1, max_size=60)
categories = texts.map(lambda found: Values.of_texts(pa.array(found, pa.string())))


def normal(rows: int, mean: float = 0.0, sd: float = 1.0, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, sd, rows)


def compare(before: np.ndarray, after: np.ndarray) -> dict[str, Change]:
    found = changes(describe(Values.of_numbers(before)), Values.of_numbers(after))
    return {change.rule: change for change in found}


@quick
@given(st.one_of(columns, categories))
def test_values_do_not_differ_from_themselves(values: Values) -> None:
    for change in changes(describe(values), values):
        assert change.statistic == pytest.approx(0, abs=1e-12)
        assert change.p_value == pytest.approx(1)


@quick
@given(st.one_of(st.tuples(columns, columns), st.tuples(categories, categories)))
def test_figures_are_finite(sides: tuple[Values, Values]) -> None:
    before, after = sides
    for change in changes(describe(before), after):
        assert 0 <= change.statistic < math.inf
        assert 0 <= change.p_value <= 1


@quick
@given(st.integers(0, 99))
def test_order_of_rows_is_irrelevant(seed: int) -> None:
    before, after = normal(300), normal(200, 0.3, seed=2)
    rng = np.random.default_rng(seed)
    assert compare(rng.permutation(before), rng.permutation(after)) == compare(before, after)


@pytest.mark.parametrize("seed", range(3))
def test_distances_are_close_to_those_over_all_values(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for before, after in (
        (rng.normal(size=3000), rng.normal(0.3, 1.2, 2000)),
        (rng.exponential(size=3000), rng.exponential(1.3, 2000)),
        (rng.poisson(2, 3000).astype(float), rng.poisson(2.4, 2000).astype(float)),
    ):
        found = compare(before, after)
        exact = stats.wasserstein_distance(before, after) / before.std()
        assert found["wasserstein"].statistic == pytest.approx(exact, rel=0.03)
        assert found["ks"].statistic == pytest.approx(stats.ks_2samp(before, after).statistic, rel=0.05)


def test_distances_of_few_distinct_values_are_exact() -> None:
    before, after = np.repeat([0.0, 1.0, 5.0], [50, 30, 20]), np.repeat([-1.0, 0.0, 1.0, 5.0, 9.0], [5, 35, 10, 30, 20])
    found = compare(before, after)
    assert found["wasserstein"].statistic == pytest.approx(stats.wasserstein_distance(before, after) / before.std())
    assert found["ks"].statistic == pytest.approx(stats.ks_2samp(before, after).statistic)


def test_p_values_equal_those_of_scipy() -> None:
    # The means alone differ significantly, so the lowest p-value of the three tests is that of Welch's test.
    before, after = normal(300), normal(200, 0.3, seed=2)
    found = compare(before, after)
    mean, ks = stats.ttest_ind(before, after, equal_var=False), found["ks"].statistic
    assert found["wasserstein"].p_value == pytest.approx(3 * mean.pvalue, rel=1e-3)
    assert found["ks"].p_value == pytest.approx(stats.kstwobign.sf(ks * np.sqrt(300 * 200 / 500)))
    before[:30] = np.nan
    pooled = 30 / 500
    z = 0.1 / np.sqrt(pooled * (1 - pooled) * (1 / 300 + 1 / 200))
    assert compare(before, after)["missing"].p_value == pytest.approx(2 * stats.norm.sf(z))


def test_statistics_grow_with_the_shift() -> None:
    shifts = [compare(normal(2000), normal(2000, shift, seed=2)) for shift in (0.1, 0.25, 0.5, 1.0, 3.0, 9.0)]
    for rule in ("wasserstein", "ks"):
        sizes = [found[rule].statistic for found in shifts]
        assert sizes == sorted(sizes)
    assert shifts[1]["wasserstein"].statistic == pytest.approx(0.25, abs=0.06)


def test_larger_variance_is_significant() -> None:
    found = compare(normal(2000), normal(2000, sd=1.3, seed=2))
    assert found["wasserstein"].statistic > 0.1
    assert found["wasserstein"].p_value < 1e-6


def test_one_huge_value_changes_little() -> None:
    before, after = normal(2000), normal(2000, seed=2)
    after[0] = 1e30
    found = compare(before, after)
    assert found["wasserstein"].statistic < 0.1
    assert found["wasserstein"].p_value > 0.01


@pytest.mark.parametrize("seed", range(5))
def test_random_difference_of_few_skewed_rows_is_not_significant(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = compare(*(np.exp(1.5 * rng.standard_normal(200)) for _ in range(2)))
    assert all(change.p_value > 0.001 for change in found.values())


@pytest.mark.parametrize("after", [4.0, 6.0])
def test_changed_constant_is_a_complete_change(after: float) -> None:
    found = compare(np.full(500, 5.0), np.full(500, after))
    assert found["ks"].statistic == 1
    assert found["ks"].p_value < 1e-6


def test_rounding_to_32_bits_is_not_a_change() -> None:
    tenths = np.random.default_rng(1).integers(0, 30, 1000) / 10
    for change in compare(tenths, tenths.astype(np.float32)).values():
        assert change.statistic == 0


def test_missing_values_are_compared_as_a_share() -> None:
    before, after = normal(2000), normal(2000, seed=2)
    before[:100], after[:400] = np.nan, np.inf
    missing = compare(before, after)["missing"]
    assert missing.statistic == pytest.approx(0.15)
    assert missing.p_value < 1e-6
    assert missing.text == "missing 5.0% → 20.0%"


def test_only_the_missing_rate_of_few_values_is_compared() -> None:
    assert list(compare(normal(500), np.array([1.0] * 19 + [np.nan] * 481))) == ["missing"]
    assert len(compare(normal(500), np.array([1.0] * 20 + [np.nan] * 480))) == 3


def test_largest_change_of_a_share_is_reported() -> None:
    before, after = (Values.of_texts(pa.array(["a"] * 800 + [other] * 200 + [None] * 10)) for other in ("b", "new"))
    share, missing = changes(describe(before), after)
    assert (share.rule, share.statistic) == ("category_share", pytest.approx(0.2))
    assert share.text == "share of 'b' 20.0% → 0.0%"
    assert missing.statistic == 0
