"""Evaluate a model on the test set: ranking, probabilities, decisions and savings, with confidence intervals."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from include.errors import ChurnflowError
from include.projects import Project
from include.projects.requirements import Costs
from include.training.data.rows import Rows
from include.training.evaluation.baselines import NO_OFFERS, Baseline, baselines
from include.training.evaluation.bootstrap import CustomerBootstrap, Interval, interval
from include.training.evaluation.decisions import Decisions, SavingPoint, decide, saving_curve
from include.training.evaluation.measure import resampled_decision_metrics, resampled_probability_metrics
from include.training.evaluation.metrics import (
    Decile,
    ReliabilityBin,
    deciles,
    expected_calibration_error,
    reliability,
)
from include.training.model.contract import reaches_threshold

HALF = 0.5
Metric = TypeVar("Metric", float, NDArray[np.float64])


class EvaluationError(ChurnflowError):
    """A model cannot be evaluated on the test rows."""


@dataclass(frozen=True)
class Evaluation:
    """A model's metrics on the test set.

    Attributes:
        rows: Number of test rows.
        customers: Number of distinct customers among them.
        positive_ratio: Share of rows that churned.
        auc: Area under the ROC curve.
        pr_auc: Average precision.
        brier: Mean squared error of the probabilities.
        ece: Expected calibration error over ``reliability``.
        observed_over_expected: Number of churners over the sum of the probabilities.
        at_half: Decisions at a threshold of 0.5.
        at_threshold: Decisions at ``threshold``, as the service makes them.
        threshold: The lowest probability that the service predicts as ``churn``.
        baselines: Rules without a model: an offer to everybody and, if the project has such a feature, by recency.
        intervals: 95 % confidence intervals by bootstrap over customers, under the names of ``metrics``. ``ece`` has no
            interval: it is a mean of absolute differences, which resampling biases upwards.
        reliability: Predicted and observed churn, in ten bins with equal numbers of rows.
        deciles: Lift by tenths of the rows, the riskiest first.
        saving_curve: Savings at thresholds from 0 to 1, in steps of 0.01.
    """

    rows: int
    customers: int
    positive_ratio: float
    auc: float
    pr_auc: float
    brier: float
    ece: float
    observed_over_expected: float
    at_half: Decisions
    at_threshold: Decisions
    threshold: float
    baselines: tuple[Baseline, ...]
    intervals: dict[str, Interval]
    reliability: tuple[ReliabilityBin, ...]
    deciles: tuple[Decile, ...]
    saving_curve: tuple[SavingPoint, ...]

    @property
    def best_baseline(self) -> Baseline:
        """The baseline that saves most; the baseline without offers, which saves nothing, is included."""
        no_offers = Baseline(NO_OFFERS, 0.5, Decisions(1 - self.positive_ratio, 0, 0, 0, 0, 0))
        return max((no_offers, *self.baselines), key=lambda baseline: baseline.decisions.saving_usd_per_1000)

    def metrics(self) -> dict[str, float]:
        """Return all metrics by name, in one flat mapping.

        A metric of the decisions at 0.5 has a plain name, such as ``f1``; at ``threshold``, the metric is
        ``f1_at_threshold``. The ends of a metric's interval are ``<name>_low`` and ``<name>_high``.
        """
        flat = {"auc": self.auc, "pr_auc": self.pr_auc, "brier": self.brier, "ece": self.ece}
        flat |= {"observed_over_expected": self.observed_over_expected, "positive_ratio": self.positive_ratio}
        flat |= asdict(self.at_half) | _at_threshold(asdict(self.at_threshold))
        for baseline in self.baselines:
            short, saving = baseline.name.split()[-1], baseline.decisions.saving_usd_per_1000
            flat |= {f"auc_{short}": baseline.auc, f"saving_usd_per_1000_{short}": saving}
        for name, ends in self.intervals.items():
            flat |= {f"{name}_low": ends.low, f"{name}_high": ends.high}
        return flat


def evaluate(
    project: Project, train: Rows, test: Rows, probabilities: NDArray[np.float32], threshold: float
) -> Evaluation:
    """Evaluate a model by its probabilities for the test rows.

    Args:
        project: The costs, the recency feature, and the seed and number of the resamples.
        train: The training rows, on which the limit of the recency baseline is chosen.
        test: The n test rows.
        probabilities: The model's churn probabilities for the test rows, shape (n,).
        threshold: The lowest probability that the service predicts as ``churn``.

    Raises:
        EvaluationError: All test rows have the same label.
    """
    require_both_labels(test)
    costs, training, churned = project.requirements.costs, project.training, test.churned
    scores = probabilities.astype(np.float64)
    bootstrap = CustomerBootstrap(test.customers, training.resamples, training.seed)
    bins = reliability(churned, scores)
    return Evaluation(
        rows=len(test),
        customers=bootstrap.customers,
        positive_ratio=float(churned.mean()),
        auc=float(roc_auc_score(churned, scores)),
        pr_auc=float(average_precision_score(churned, scores)),
        brier=float(brier_score_loss(churned, scores)),
        ece=expected_calibration_error(bins),
        observed_over_expected=float(churned.sum() / scores.sum()),
        at_half=decide(churned, reaches_threshold(scores, HALF), costs),
        at_threshold=decide(churned, reaches_threshold(scores, threshold), costs),
        threshold=threshold,
        baselines=baselines(project, train, test),
        intervals=_intervals(bootstrap, churned, scores, threshold, costs),
        reliability=bins,
        deciles=deciles(churned, scores),
        saving_curve=saving_curve(churned, scores, costs),
    )


def require_both_labels(test: Rows) -> None:
    """Check that the test rows have both labels.

    Raises:
        EvaluationError: There are no test rows, or all have the same label.
    """
    if len(np.unique(test.churned)) < 2:
        raise EvaluationError(
            "The test rows all have the same label." if len(test.churned) else "There are no test rows.",
            where="test part of the training data set",
            remedy="Enlarge the test in the project's training.yaml, or ingest more customers.",
        )


def _intervals(
    bootstrap: CustomerBootstrap,
    churned: NDArray[np.int8],
    scores: NDArray[np.float64],
    threshold: float,
    costs: Costs,
) -> dict[str, Interval]:
    resampled = resampled_probability_metrics(bootstrap, churned, scores)
    resampled["pr_auc"] = resampled.pop("average_precision")
    resampled["positive_ratio"] = resampled.pop("observed_churn")
    resampled |= resampled_decision_metrics(bootstrap, churned, reaches_threshold(scores, HALF), costs)
    resampled |= _at_threshold(
        resampled_decision_metrics(bootstrap, churned, reaches_threshold(scores, threshold), costs)
    )
    return {name: interval(values) for name, values in resampled.items()}


def _at_threshold(metrics: dict[str, Metric]) -> dict[str, Metric]:
    return {f"{name}_at_threshold": value for name, value in metrics.items()}
