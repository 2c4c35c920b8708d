"""The metrics of a model on labelled rows, with 95 % intervals by bootstrap over customers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from include.projects import Project
from include.projects.requirements import Costs
from include.training.evaluation.bootstrap import CustomerBootstrap, interval
from include.training.evaluation.decisions import decide, savings
from include.training.evaluation.metrics import WeightedRanking
from include.training.model.contract import MetricValue


def measure(
    project: Project,
    customers: pa.ChunkedArray | Sequence[str],
    churned: NDArray[np.int8],
    probabilities: NDArray[np.float64],
    offered: NDArray[np.bool_],
) -> dict[str, MetricValue]:
    """Return the metrics of a model on n rows with their 95 % intervals.

    Args:
        project: The costs, and the seed and number of the resamples.
        customers: The customer of each row, n texts; at least one.
        churned: The labels, shape (n,).
        probabilities: The churn probabilities, shape (n,).
        offered: Which customers get an offer, shape (n,).

    Returns:
        ``auc``, ``average_precision``, ``brier``, ``observed_over_expected``, ``observed_churn``, and the metrics of
        ``Decisions``. Metrics that are not defined are left out: AUC and average precision if all rows have the same
        label, recall without churners, precision without offers, and F1 without both.
    """
    costs = project.requirements.costs
    values = {
        "brier": float(brier_score_loss(churned, probabilities)),
        "observed_over_expected": float(churned.sum() / probabilities.sum()),
        "observed_churn": float(churned.mean()),
        **asdict(decide(churned, offered, costs)),
    }
    if 0 < churned.sum() < len(churned):
        values["auc"] = float(roc_auc_score(churned, probabilities))
        values["average_precision"] = float(average_precision_score(churned, probabilities))
    defined = {"recall": churned.any(), "precision": offered.any(), "f1": churned.any() or offered.any()}
    bootstrap = CustomerBootstrap(customers, project.training.resamples, project.training.seed)
    resampled = resampled_probability_metrics(bootstrap, churned, probabilities)
    resampled |= resampled_decision_metrics(bootstrap, churned, offered, costs)
    return {name: _with_interval(value, resampled[name]) for name, value in values.items() if defined.get(name, True)}


def resampled_auc(
    bootstrap: CustomerBootstrap, churned: NDArray[np.int8], scores: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the AUC in every resample, shape (resamples,).

    Args:
        bootstrap: The resamples of n rows.
        churned: The labels, shape (n,).
        scores: The scores, shape (n,).
    """
    ranking = WeightedRanking(churned, scores.astype(np.float64))
    return np.array([ranking.auc_and_average_precision(weights)[0] for weights in bootstrap.weights()])


def resampled_probability_metrics(
    bootstrap: CustomerBootstrap, churned: NDArray[np.int8], probabilities: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return the metrics of the ranking and the probabilities in every resample, each of shape (resamples,).

    Args:
        bootstrap: The resamples of n rows.
        churned: The labels, shape (n,).
        probabilities: The churn probabilities, shape (n,).
    """
    ranking = WeightedRanking(churned, probabilities)
    ranked = np.array([ranking.auc_and_average_precision(weights) for weights in bootstrap.weights()])
    columns = np.column_stack([np.ones(len(churned)), churned, probabilities, (probabilities - churned) ** 2])
    rows, churners, expected, squared = bootstrap.totals(columns).T
    return {
        "auc": ranked[:, 0],
        "average_precision": ranked[:, 1],
        "brier": squared / rows,
        "observed_over_expected": _share(churners, expected),
        "observed_churn": churners / rows,
    }


def resampled_decision_metrics(
    bootstrap: CustomerBootstrap, churned: NDArray[np.int8], offered: NDArray[np.bool_], costs: Costs
) -> dict[str, NDArray[np.float64]]:
    """Return the metrics of ``Decisions`` in every resample, each of shape (resamples,).

    Args:
        bootstrap: The resamples of n rows.
        churned: The labels, shape (n,).
        offered: Which customers get an offer, shape (n,).
        costs: The costs of a missed churner and of a needless offer.
    """
    kept = offered & (churned == 1)
    saving = savings(churned, offered, costs)
    columns = np.column_stack([np.ones(len(churned)), churned, offered, kept, saving])
    rows, churners, offers, reached, saved = bootstrap.totals(columns).T
    return {
        "accuracy": (rows - churners - offers + 2 * reached) / rows,
        "precision": _share(reached, offers),
        "recall": _share(reached, churners),
        "f1": _share(2 * reached, offers + churners),
        "offers_per_1000": offers / rows * 1000,
        "saving_usd_per_1000": saved / rows * 1000,
    }


def _share(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _with_interval(value: float, resampled: NDArray[np.float64]) -> MetricValue:
    ends = interval(resampled)
    # With very few churners, both percentiles may lie on the same side of the value.
    return MetricValue(value, min(ends.low, value), max(ends.high, value))
