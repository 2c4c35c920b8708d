"""Drift of features between a reference window and a current window, with one row per customer in each.

A feature drifts if a difference is both large (its statistic reaches a threshold of ``DriftRules``) and significant
(its p-value is below the significance level divided by the number of features, Bonferroni's correction: Dunn, "Multiple
Comparisons among Means", JASA 56, 1961). Missing values are compared as a rate; the other statistics use the values
that are present. No statistic is NaN; the reason of a feature that cannot be compared states why.

docs/decisions/0016-own-drift-rules.md explains why the project does not use the rules of a library.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from include.errors import ChurnflowError
from include.lake.table_names import FEATURES_TABLE
from include.plurals import counted
from include.projects.features import FeatureSpec
from include.projects.monitoring import DriftRules, Monitoring

Rule = Literal["missing", "wasserstein", "ks", "category_share"]
Floats = NDArray[np.float64]

_MIN_VALUES = 20
"""With fewer values in a window, only the missing rate of a feature is compared."""


class DriftError(ChurnflowError):
    """Two windows cannot be compared."""


@dataclass(frozen=True)
class FeatureDrift:
    """The result for one feature.

    Attributes:
        name: The feature.
        drifted: Whether the feature drifted by at least one rule.
        rule: The most severe rule by which it drifted; None if it did not drift.
        statistic: The statistic of ``rule``, or of the feature's first rule if it did not drift; None if nothing was
            compared.
        p_value: The p-value of the statistic before Bonferroni's correction; None if nothing was compared.
        severity: The statistic divided by its threshold; at least 1 if the feature drifted, else at most 1.
        missing_reference: The share of missing values in the reference window.
        missing_current: The share of missing values in the current window.
        reason: The result in words.
    """

    name: str
    drifted: bool
    rule: Rule | None
    statistic: float | None
    p_value: float | None
    severity: float
    missing_reference: float
    missing_current: float
    reason: str


@dataclass(frozen=True)
class DriftVerdict:
    """The result for all features.

    Attributes:
        drifted: Whether at least ``min_drifted_features`` drifted.
        reason: The result in words.
        reference_rows: The number of rows of the reference window.
        current_rows: The number of rows of the current window.
        min_drifted_features: The minimum number of drifted features with which ``drifted`` is true.
        features: All compared features, most severe first.
        left_out: Features that are not compared, since they change with time or the calendar, or since the reference
            lacks them.
    """

    drifted: bool
    reason: str
    reference_rows: int
    current_rows: int
    min_drifted_features: int
    features: tuple[FeatureDrift, ...]
    left_out: tuple[str, ...]

    @property
    def drifted_features(self) -> list[FeatureDrift]:
        """The features that drifted, most severe first."""
        return [feature for feature in self.features if feature.drifted]

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain JSON types."""
        return asdict(self) | {
            "drifted_features": len(self.drifted_features),
            "features": [asdict(feature) for feature in self.features],
            "left_out": list(self.left_out),
        }


@dataclass(frozen=True)
class _Finding:
    rule: Rule
    statistic: float
    threshold: float
    p_value: float
    significant: bool
    text: str

    @property
    def severity(self) -> float:
        return self.statistic / self.threshold

    @property
    def fires(self) -> bool:
        return self.significant and self.severity >= 1


def detect_drift(
    reference: pd.DataFrame, current: pd.DataFrame, features: Sequence[FeatureSpec], monitoring: Monitoring
) -> DriftVerdict:
    """Return which features drifted between two windows.

    Args:
        reference: The reference window: one row per customer, one column per feature.
        current: The current window, with the same columns.
        features: The features; those that drift by construction are listed but not compared.
        monitoring: The project's drift rules and limits.

    Raises:
        DriftError: A window has no rows, or the current window lacks a feature of the reference.
    """
    compared = [spec for spec in features if not spec.drifts_by_construction and spec.name in reference]
    _require_comparable(reference, current, compared)
    level = monitoring.rules.significance / max(1, len(compared))
    found = [
        _compare_feature(spec, reference[spec.name], current[spec.name], monitoring.rules, level) for spec in compared
    ]
    found.sort(key=lambda feature: (not feature.drifted, -feature.severity, feature.name))
    count = sum(feature.drifted for feature in found)
    return DriftVerdict(
        drifted=count >= monitoring.min_drifted_features,
        reason=f"{count} of {counted(len(found), 'feature')} drifted; the limit is {monitoring.min_drifted_features}.",
        reference_rows=len(reference),
        current_rows=len(current),
        min_drifted_features=monitoring.min_drifted_features,
        features=tuple(found),
        left_out=tuple(spec.name for spec in features if spec not in compared),
    )


def _require_comparable(reference: pd.DataFrame, current: pd.DataFrame, features: Sequence[FeatureSpec]) -> None:
    for name, frame in (("reference", reference), ("current", current)):
        if frame.empty:
            raise DriftError(
                f"The {name} window has no rows.", where=FEATURES_TABLE, remedy="Run churn_ingest for its days."
            )
    missing = [spec.name for spec in features if spec.name not in current]
    if missing:
        raise DriftError(
            f"The current window lacks {counted(len(missing), 'feature')}, such as {missing[0]!r}.",
            where=FEATURES_TABLE,
            remedy="Run churn_ingest for the window's days again, so that gold has the project's current features.",
        )


def _compare_feature(
    spec: FeatureSpec, reference: pd.Series[Any], current: pd.Series[Any], rules: DriftRules, level: float
) -> FeatureDrift:
    if spec.dtype == "number":
        reference, current = (part.astype(float).replace([np.inf, -np.inf], np.nan) for part in (reference, current))
    missing = _missing_rate(reference, current, rules)
    findings = [missing]
    kept = reference.dropna(), current.dropna()
    note = ""
    if min(len(part) for part in kept) < _MIN_VALUES:
        note = f"fewer than {_MIN_VALUES} values in a window; only the missing rate was compared"
    elif spec.dtype == "category":
        findings.insert(0, _category_share(*kept, rules, level))
    else:
        before, after = (part.to_numpy(dtype=np.float64) for part in kept)
        findings[:0] = _numbers(before, after, rules, level)
    fired = [finding for finding in findings if finding.fires]
    shown = max(fired, key=lambda finding: finding.severity) if fired else findings[0]
    return FeatureDrift(
        name=spec.name,
        drifted=bool(fired),
        rule=shown.rule if fired else None,
        statistic=shown.statistic,
        p_value=shown.p_value,
        severity=max(finding.severity for finding in fired) if fired else min(shown.severity, 1.0),
        missing_reference=float(reference.isna().mean()),
        missing_current=float(current.isna().mean()),
        reason="; ".join([finding.text for finding in fired] or [note or f"no drift: {shown.text}"]),
    )


def _missing_rate(reference: pd.Series[Any], current: pd.Series[Any], rules: DriftRules) -> _Finding:
    """Compare the shares of missing values with the z-test for two proportions and a pooled standard error.

    Source: Fleiss, Levin and Paik, "Statistical Methods for Rates and Proportions", 3rd ed. 2003, chapter 3.
    """
    before, after = float(reference.isna().mean()), float(current.isna().mean())
    n, m = len(reference), len(current)
    pooled = (before * n + after * m) / (n + m)
    error = math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    z = abs(after - before) / error if error else 0.0
    return _Finding(
        rule="missing",
        statistic=abs(after - before),
        threshold=rules.missing_share,
        p_value=float(2 * stats.norm.sf(z)),
        significant=z > rules.missing_z,
        text=f"missing {before:.1%} → {after:.1%} (z {z:.1f})",
    )


def _category_share(reference: pd.Series[Any], current: pd.Series[Any], rules: DriftRules, level: float) -> _Finding:
    """Compare the largest change of a category's share, with the chi-square test of homogeneity (Pearson 1900)."""
    before, after = reference.astype(str).value_counts(), current.astype(str).value_counts()
    counts = pd.DataFrame({"before": before, "after": after}).fillna(0.0).sort_index()
    shares = counts / counts.sum()
    change = (shares["after"] - shares["before"]).abs()
    largest = str(change.idxmax())
    p_value = 1.0 if len(counts) < 2 else float(stats.chi2_contingency(counts.to_numpy().T).pvalue)
    before_share, after_share = float(shares["before"][largest]), float(shares["after"][largest])
    return _Finding(
        rule="category_share",
        statistic=float(change.max()),
        threshold=rules.category_share,
        p_value=p_value,
        significant=p_value < level,
        text=f"share of {largest!r} {before_share:.1%} → {after_share:.1%} (chi-square p {p_value:.2g})",
    )


def _numbers(reference: Floats, current: Floats, rules: DriftRules, level: float) -> list[_Finding]:
    """Compare two samples by the Wasserstein distance in standard deviations, and by the Kolmogorov-Smirnov test."""
    ks = stats.ks_2samp(reference, current, method="asymp")
    distance, p_value = float(ks.statistic), float(ks.pvalue)
    centres = f"mean {np.mean(reference):.4g} → {np.mean(current):.4g}"
    ks_finding = _Finding(
        rule="ks",
        statistic=distance,
        threshold=rules.ks_distance,
        p_value=p_value,
        significant=p_value < level,
        text=f"Kolmogorov-Smirnov distance {distance:.3f} (p {p_value:.2g}), {centres}",
    )
    normed = _normed_wasserstein(reference, current)
    any_p = _any_change(reference, current, p_value) if normed >= rules.wasserstein else p_value
    return [
        _Finding(
            rule="wasserstein",
            statistic=normed,
            threshold=rules.wasserstein,
            p_value=any_p,
            significant=any_p < level,
            text=f"Wasserstein distance {normed:.3f} sd (p {any_p:.2g}), {centres}",
        ),
        ks_finding,
    ]


def _normed_wasserstein(reference: Floats, current: Floats) -> float:
    """Return the first Wasserstein distance divided by the reference's standard deviation.

    Source: Evidently's ``wasserstein``, "Wasserstein distance (normed)", whose default threshold of 0.1 is also that of
    ``DriftRules``: https://docs.evidentlyai.com/metrics/explainer_drift. Evidently divides by at least 0.001, so that
    the distance of a nearly constant feature depends on its unit; this function divides by the standard deviation of
    both samples when the reference is constant.
    """
    # The computed deviation of a constant may be a rounding error instead of zero.
    constant = bool(np.ptp(reference) == 0)
    scale = float(np.std(np.concatenate([reference, current]) if constant else reference))
    return float(stats.wasserstein_distance(reference, current)) / scale if scale else 0.0


def _any_change(reference: Floats, current: Floats, ks_p: float) -> float:
    """Return a p-value for a difference in distribution, mean or variance.

    The Wasserstein distance has no p-value, and exceeds 0.1 by chance for two skewed samples of 2,000 rows. The
    Kolmogorov-Smirnov test alone has little power against changes of the tails or the variance. The lowest p-value of
    three tests is therefore used, multiplied by 3, the number of tests (Bonferroni's correction): Kolmogorov-Smirnov,
    Welch's t-test (Welch 1947) for the mean, and Levene's test around the median (Brown and Forsythe 1974) for the
    variance.
    """
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # Constant samples raise a warning and have no p-value.
        warnings.simplefilter("ignore", RuntimeWarning)
        others = (
            float(stats.ttest_ind(reference, current, equal_var=False).pvalue),
            float(stats.levene(reference, current, center="median").pvalue),
        )
    return min(1.0, 3 * min(ks_p, *(1.0 if math.isnan(p) else p for p in others)))
