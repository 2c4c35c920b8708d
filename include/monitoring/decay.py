"""The verdict on the decay of a model, and its severity.

The verdict compares intervals instead of point estimates: with a few hundred churners, an AUC varies by some hundredths
without any change of the model or its customers.
"""

from __future__ import annotations

import math
from typing import Literal

from include.plurals import counted
from include.training.model.contract import MetricValue

Verdict = Literal["decayed", "not decayed", "no verdict"]

CALIBRATION_TOLERANCE = 1.2
"""The largest tolerated ratio of observed to expected churn, and of expected to observed churn. The warning of the
calibrator has the same tolerance of 20 %."""


_SMALLEST_WIDTH = 1e-9
"""Two intervals without a width are compared as if they had this width."""


def decay_verdict(
    metrics: dict[str, MetricValue],
    promised: dict[str, MetricValue],
    churners: int,
    customers: int,
    min_churners: int,
) -> tuple[Verdict, str]:
    """Return whether a model has decayed, and the reason as text.

    The ranking has decayed if the upper bound of the realised AUC is below the lower bound of the AUC on the test. The
    test is also a sample of customers and weeks, so its AUC is uncertain, too. The calibration has decayed if the
    interval of observed over expected churn lies outside the tolerance; this verdict does not need the test.

    Args:
        metrics: The realised metrics; see ``measure``.
        promised: The metrics on the test of the model's recipe; empty if they are not known.
        churners: The number of customers who churned.
        customers: The number of customers with known labels.
        min_churners: The smallest number of churners for a verdict.
    """
    if churners < min_churners:
        return (
            "no verdict",
            f"{counted(churners, 'churner')} of {customers:,} customers; a verdict needs {min_churners}.",
        )
    ratios = f"observed over expected churn {_text(metrics['observed_over_expected'], 2)}"
    aucs = ""
    if "auc" in metrics and "auc" in promised:
        aucs = f"realised AUC {_text(metrics['auc'], 3)}, AUC on the test {_text(promised['auc'], 3)}"
    reasons = []
    if _ranking_severity(metrics, promised) > 1:
        reasons.append(f"the ranking has decayed: {aucs}")
    if _calibration_severity(metrics["observed_over_expected"]) > 1:
        tolerance = f"{1 / CALIBRATION_TOLERANCE:.2f} to {CALIBRATION_TOLERANCE:.2f}"
        reasons.append(f"the calibration has decayed: {ratios}, the tolerance is {tolerance}")
    if reasons:
        return "decayed", f"{'; '.join(reasons)}."
    if "auc" not in metrics:
        return "no verdict", f"All {customers:,} customers churned."
    if not aucs:
        return "no verdict", f"The evaluation of its recipe is not known; {ratios}."
    return "not decayed", f"{aucs}; {ratios}."


def decay_severity(metrics: dict[str, MetricValue], promised: dict[str, MetricValue]) -> float:
    """Return the severity of a decay; a model has decayed if it is above 1.

    The severity of the ranking is the distance between the realised AUC and that on the test, divided by the sum of the
    two half widths between them. The severity of the calibration is the logarithm of the bound of observed over
    expected churn that is next to 1, divided by the logarithm of the tolerance. The result is the larger severity.

    Args:
        metrics: The realised metrics of a model with a verdict.
        promised: The metrics on the test of the model's recipe; empty if they are not known.
    """
    return max(_ranking_severity(metrics, promised), _calibration_severity(metrics["observed_over_expected"]))


def _ranking_severity(metrics: dict[str, MetricValue], promised: dict[str, MetricValue]) -> float:
    if "auc" not in metrics or "auc" not in promised:
        return 0.0
    realised, test = metrics["auc"], promised["auc"]
    width = (realised.high - realised.value) + (test.value - test.low)
    return max(0.0, (test.value - realised.value) / max(width, _SMALLEST_WIDTH))


def _calibration_severity(ratio: MetricValue) -> float:
    nearest = ratio.low if ratio.low > 1 else min(ratio.high, 1.0)
    return abs(math.log(nearest)) / math.log(CALIBRATION_TOLERANCE)


def _text(value: MetricValue, digits: int) -> str:
    return f"{value.value:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})"
