"""The change of one feature between a profile and new values.

The statistics are computed from the profile and the new values only. Numbers are 32-bit floats on both sides, so the
values that an endpoint logs are comparable with those of gold.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import special, stats

from include.training.model.reference_profile import CategoryProfile, NumberProfile, Rule

MIN_VALUES = 20
"""With fewer values on one side, only the missing rate of a feature is compared."""
FLOORS: Mapping[Rule, float] = {"wasserstein": 0.1, "ks": 0.05, "category_share": 0.05, "missing": 0.02}
"""The smallest limit of each statistic. Smaller changes are irrelevant, even if past snapshots differed less."""
_QUANTILES = np.array([0, 0.001, 0.005, *np.arange(1, 100) / 100, 0.995, 0.999, 1])


@dataclass(frozen=True)
class Values:
    """The values of one feature in a window of n rows.

    Attributes:
        rows: n.
        numbers: The values of a number, sorted, without missing values; None for a category.
        counts: The number of rows with each text of a category; empty for a number.
    """

    rows: int
    numbers: NDArray[np.float32] | None
    counts: Mapping[str, int]

    @classmethod
    def of_numbers(cls, numbers: NDArray[Any]) -> Values:
        """Return the values of a number; NaN and infinity are missing values.

        Args:
            numbers: The values, shape (n,).
        """
        with np.errstate(over="ignore"):
            narrow = numbers.astype(np.float32)
        return cls(len(numbers), np.sort(narrow[np.isfinite(narrow)]), {})

    @classmethod
    def of_texts(cls, texts: pa.Array | pa.ChunkedArray) -> Values:
        """Return the values of a category; null is a missing value.

        Args:
            texts: The texts, n values.
        """
        counted = texts.drop_null().value_counts()
        return cls(len(texts), None, {str(item["values"]): item["counts"] for item in counted.to_pylist()})

    @classmethod
    def of_column(cls, column: pa.ChunkedArray, kind: str) -> Values:
        """Return the values of a column of gold.

        Args:
            column: The column, n values.
            kind: ``number`` or ``category``.
        """
        if kind == "category":
            return cls.of_texts(column.cast(pa.string()))
        return cls.of_numbers(as_numbers(column))

    @property
    def present(self) -> int:
        """The number of rows with a value."""
        return sum(self.counts.values()) if self.numbers is None else len(self.numbers)


@dataclass(frozen=True)
class Change:
    """The change of one feature by one rule.

    Attributes:
        rule: The rule. ``wasserstein``: the Wasserstein distance divided by the reference's standard deviation. ``ks``:
            the Kolmogorov-Smirnov distance. ``category_share``: the largest change of a category's share. ``missing``:
            the change of the share of missing values.
        statistic: The size of the change, at least 0.
        p_value: The probability of a change of this size by chance, if all rows are independent.
        text: The change in words.
    """

    rule: Rule
    statistic: float
    p_value: float
    text: str


def as_numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Return a column of numbers or booleans, with NaN for null.

    Args:
        column: The column, n values.
    """
    numbers: NDArray[np.float64] = pc.cast(column, pa.float64(), safe=False).to_numpy()
    return numbers


def describe(values: Values) -> NumberProfile | CategoryProfile:
    """Return the profile of a feature, without its influence and its natural variation.

    Args:
        values: The values of the reference.
    """
    if values.numbers is None:
        return CategoryProfile(rows=values.rows, counts=dict(values.counts))
    numbers = values.numbers
    if not len(numbers):
        return NumberProfile(rows=values.rows)
    edges = np.unique(numbers[np.rint(_QUANTILES * (len(numbers) - 1)).astype(np.int64)])
    mean, variance, kurtosis = _moments(numbers)
    return NumberProfile(
        rows=values.rows,
        edges=tuple(edges.tolist()),
        at_most=tuple(np.searchsorted(numbers, edges, side="right").tolist()),
        below=tuple(np.searchsorted(numbers, edges, side="left").tolist()),
        mean=mean,
        variance=variance,
        kurtosis=kurtosis,
    )


def changes(profile: NumberProfile | CategoryProfile, values: Values) -> list[Change]:
    """Return the changes of a feature by each rule that applies to it; ``missing`` is the last and always applies.

    Args:
        profile: The feature's profile.
        values: The new values, of at least one row.
    """
    found = [_missing(profile, values)]
    if isinstance(profile, CategoryProfile):
        if min(profile.values, values.present) >= MIN_VALUES:
            found.insert(0, _category_share(profile.counts, values.counts))
    elif values.numbers is not None and min(profile.values, len(values.numbers)) >= MIN_VALUES:
        found[:0] = _numbers(profile, values.numbers)
    return found


def _missing(profile: NumberProfile | CategoryProfile, values: Values) -> Change:
    """Compare the shares of missing values with the z-test for two proportions and a pooled standard error.

    Source: Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions", 3rd ed. 2003, chapter 3.
    """
    n, m = profile.rows, values.rows
    before, after = 1 - profile.values / n, 1 - values.present / m
    pooled = (before * n + after * m) / (n + m)
    error = math.sqrt(max(pooled * (1 - pooled), 0.0) * (1 / n + 1 / m))
    z = abs(after - before) / error if error else 0.0
    return Change("missing", abs(after - before), _normal_p(z), f"missing {before:.1%} → {after:.1%}")


def _category_share(before: Mapping[str, int], after: Mapping[str, int]) -> Change:
    """Compare the largest change of a category's share, with the chi-square test of homogeneity (Pearson 1900)."""
    texts = sorted({*before, *after})
    counts = np.array([[side.get(text, 0) for text in texts] for side in (before, after)], dtype=np.float64)
    shares = counts / counts.sum(axis=1, keepdims=True)
    difference = np.abs(shares[1] - shares[0])
    largest = int(np.argmax(difference))
    p_value = float(stats.chi2_contingency(counts).pvalue) if len(texts) > 1 else 1.0
    text = f"share of {texts[largest]!r} {shares[0, largest]:.1%} → {shares[1, largest]:.1%}"
    return Change("category_share", float(difference[largest]), p_value, text)


def _numbers(profile: NumberProfile, values: NDArray[np.float32]) -> list[Change]:
    """Compare a number by its Wasserstein distance and its Kolmogorov-Smirnov distance at the profile's edges."""
    n, m = profile.values, len(values)
    edges = np.array(profile.edges, dtype=np.float32)
    at_most, below = (np.searchsorted(values, edges, side=side) for side in ("right", "left"))
    gaps_at = np.abs(at_most / m - np.array(profile.at_most) / n)
    gaps_below = np.abs(below / m - np.array(profile.below) / n)
    distance = float(max(gaps_at.max(), gaps_below.max()))
    # The asymptotic distribution of the two-sample statistic (Kolmogorov 1933, Smirnov 1948). The distance at the edges
    # is at most the distance over all values, so the p-value is not too low.
    ks_p = float(special.kolmogorov(distance * math.sqrt(n * m / (n + m))))
    # A value outside the range of the reference counts as at most one such range away from it, so a single wrong value
    # has little effect.
    span = edges[-1] - edges[0]
    limited = np.clip(values, edges[0] - span, edges[-1] + span) if span else values
    moments = _moments(limited)
    normed = _normed_wasserstein(profile, edges.astype(np.float64), gaps_at, gaps_below, limited)
    # The Wasserstein distance has no p-value. The Kolmogorov-Smirnov test alone has little power against changes of the
    # tails or the variance. Therefore the lowest p-value of three tests is used, multiplied by 3 (Bonferroni).
    lowest = min(ks_p, _mean_p(profile, moments, m), _variance_p(profile, moments, m))
    centres = f"mean {profile.mean:.4g} → {moments[0]:.4g}, sd {math.sqrt(profile.variance):.3g} → "
    centres += f"{math.sqrt(moments[1]):.3g}"
    return [
        Change("wasserstein", normed, min(1.0, 3 * lowest), f"Wasserstein distance {normed:.3f} sd, {centres}"),
        Change("ks", distance, ks_p, f"Kolmogorov-Smirnov distance {distance:.3f}, {centres}"),
    ]


def _normed_wasserstein(
    profile: NumberProfile,
    edges: NDArray[np.float64],
    gaps_at: NDArray[np.float64],
    gaps_below: NDArray[np.float64],
    values: NDArray[np.float32],
) -> float:
    """Return the first Wasserstein distance divided by the reference's standard deviation; 0 for a constant reference.

    The distance is the area between the two distribution functions, by the trapezoidal rule between the edges. Beyond
    the minimum and the maximum of the reference, the area is the mean excess of the new values.

    Args:
        profile: The reference.
        edges: Its k edges, shape (k,).
        gaps_at: The absolute difference of the shares of values up to each edge, inclusive, shape (k,).
        gaps_below: The same for values below each edge, shape (k,).
        values: The new values, sorted.
    """
    if not profile.variance:
        return 0.0
    inside = float(((gaps_at[:-1] + gaps_below[1:]) / 2 * np.diff(edges)).sum())
    low = values[: np.searchsorted(values, np.float32(edges[0]))].astype(np.float64)
    high = values[np.searchsorted(values, np.float32(edges[-1]), side="right") :].astype(np.float64)
    outside = float((edges[0] - low).sum() + (high - edges[-1]).sum()) / len(values)
    return (inside + outside) / math.sqrt(profile.variance)


def _moments(values: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return mean, variance and kurtosis of values of shape (n,), n at least 1."""
    wide = values.astype(np.float64)
    mean = float(wide.mean())
    if values[0] == values[-1]:  # of a constant, the computed deviation may be a rounding error
        return mean, 0.0, 0.0
    wide -= mean
    variance = float(np.square(wide, out=wide).mean())
    return mean, variance, float(np.square(wide, out=wide).mean()) / variance**2 if variance else 0.0


def _mean_p(profile: NumberProfile, moments: tuple[float, float, float], m: int) -> float:
    """Return the p-value of Welch's t-test (Welch 1947) for the means; 1 if both sides are constant."""
    n = profile.values
    before, after = profile.variance / (n - 1), moments[1] / (m - 1)
    error = before + after
    if not error:
        return 1.0
    freedom = error**2 / (before**2 / (n - 1) + after**2 / (m - 1))
    return 2 * float(special.stdtr(freedom, -abs(moments[0] - profile.mean) / math.sqrt(error)))


def _variance_p(profile: NumberProfile, moments: tuple[float, float, float], m: int) -> float:
    """Return the p-value of a z-test for the ratio of the variances; 1 if one side is constant.

    The logarithm of a sample's variance has the asymptotic variance (kurtosis - 1) / n for any distribution (Layard,
    "Robust Large-Sample Tests for Homogeneity of Variances", JASA 68, 1973).
    """
    _, variance, kurtosis = moments
    error = (profile.kurtosis - 1) / profile.values + (kurtosis - 1) / m
    if not profile.variance or not variance or error <= 0:
        return 1.0
    return _normal_p(abs(math.log(variance / profile.variance)) / math.sqrt(error))


def _normal_p(z: float) -> float:
    """Return the two-sided p-value of a standard normal statistic; ``scipy.stats`` takes 100 times longer."""
    return 2 * float(special.ndtr(-z))
