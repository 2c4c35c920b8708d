"""The verdict on the decay of a model.

The verdict compares intervals instead of point estimates: with a few hundred churners, an AUC varies by some hundredths
without any change of the model or its customers.
"""

from __future__ import annotations

from typing import Literal

from include.plurals import counted
from include.training.model.contract import MetricValue

Verdict = Literal["decayed", "not decayed", "no verdict"]

CALIBRATION_TOLERANCE = 1.2
"""The largest tolerated ratio of observed to expected churn, and of expected to observed churn. The warning of the
calibrator has the same tolerance of 20 %."""


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
    interval of observed over expected churn lies outside the tolerance.

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
    if "auc" not in metrics:
        return "no verdict", f"All {customers:,} customers churned."
    if "auc" not in promised:
        return "no verdict", "The evaluation of its recipe is not known."
    auc, ratio = metrics["auc"], metrics["observed_over_expected"]
    aucs = f"realised AUC {_text(auc, 3)}, AUC on the test {_text(promised['auc'], 3)}"
    ratios = f"observed over expected churn {_text(ratio, 2)}"
    reasons = []
    if auc.high < promised["auc"].low:
        reasons.append(f"the ranking has decayed: {aucs}")
    if ratio.low > CALIBRATION_TOLERANCE or ratio.high < 1 / CALIBRATION_TOLERANCE:
        tolerance = f"{1 / CALIBRATION_TOLERANCE:.2f} to {CALIBRATION_TOLERANCE:.2f}"
        reasons.append(f"the calibration has decayed: {ratios}, the tolerance is {tolerance}")
    if reasons:
        return "decayed", f"{'; '.join(reasons)}."
    return "not decayed", f"{aucs}; {ratios}."


def _text(value: MetricValue, digits: int) -> str:
    return f"{value.value:.{digits}f} ({value.low:.{digits}f} to {value.high:.{digits}f})"
