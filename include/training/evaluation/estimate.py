"""Metrics that are expected from calibrated probabilities, before labels are known.

If the probabilities are calibrated, the label of a row is a Bernoulli draw with its probability. The mean of a metric
over such draws estimates the metric, and the standard deviation over the draws measures its random variation. The
method is known as confidence-based performance estimation (NannyML's documentation, "Confidence-based Performance
Estimation", 2022; a similar estimate of accuracy is in Guillory et al., Predicting with Confidence on Unseen
Distributions, 2021). The estimate changes with the features of the customers. It does not show a change of the relation
between features and churn.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from include.projects import Project
from include.training.data.rows import Rows
from include.training.model.contract import MetricValue, reaches_threshold

_DRAWS = 200
_NORMAL = 1.96
"""The quantile of the normal distribution for a 95 % interval."""
_STUDENT = 3.18
"""The quantile of Student's t distribution with three degrees of freedom for a 95 % interval.

A test has only a few independent snapshots, since the labels of two snapshots within one horizon share days: eight
weekly snapshots with a horizon of 30 days span less than three horizons. In addition, all snapshots are from the same
season.
"""
_SHARES = {"auc", "precision", "recall", "observed_churn"}
"""The metrics that lie between 0 and 1."""


@dataclass(frozen=True)
class Estimate:
    """The expected value of a metric, and its standard deviation over draws of the labels."""

    value: float
    deviation: float


def estimate_intervals(
    project: Project, probabilities: NDArray[np.float64], offered: NDArray[np.bool_], errors: dict[str, float]
) -> dict[str, MetricValue]:
    """Return the metrics of ``estimate_metrics`` with 95 % intervals.

    The width is computed from two errors that are assumed to be independent: the random variation of the labels, and
    the errors of earlier estimates, which are the effect of probabilities that are not exactly calibrated.

    Args:
        project: The costs, and the seed of the draws.
        probabilities: The churn probabilities, shape (n,).
        offered: Which customers get an offer, shape (n,).
        errors: The root mean square errors of earlier estimates; see ``estimate_errors``. A metric without an error is
            left out.
    """
    found = {}
    for name, estimate in estimate_metrics(project, probabilities, offered).items():
        if name in errors:
            half = float(np.hypot(_NORMAL * estimate.deviation, _STUDENT * errors[name]))
            low, high = estimate.value - half, estimate.value + half
            found[name] = MetricValue(
                estimate.value, *((max(low, 0.0), min(high, 1.0)) if name in _SHARES else (low, high))
            )
    return found


def estimate_metrics(
    project: Project, probabilities: NDArray[np.float64], offered: NDArray[np.bool_]
) -> dict[str, Estimate]:
    """Return the metrics that are expected if the probabilities are calibrated.

    Args:
        project: The costs, and the seed of the draws.
        probabilities: The churn probabilities, shape (n,).
        offered: Which customers get an offer, shape (n,).

    Returns:
        ``auc``, ``precision``, ``recall``, ``saving_usd_per_1000`` and ``observed_churn``, as in ``measure``. A metric
        that is not defined in one of the draws is left out.
    """
    random = np.random.default_rng(project.training.seed)
    draws = (random.random(len(probabilities)) < probabilities for _ in range(_DRAWS))
    found = _metrics(project, draws, probabilities, offered)
    return {name: Estimate(float(values.mean()), float(values.std())) for name, values in found.items()}


def realised_metrics(
    project: Project, churned: NDArray[np.bool_], probabilities: NDArray[np.float64], offered: NDArray[np.bool_]
) -> dict[str, float]:
    """Return the metrics of ``estimate_metrics`` for the true labels of n rows.

    Args:
        project: The costs.
        churned: The labels, shape (n,).
        probabilities: The churn probabilities, shape (n,).
        offered: Which customers get an offer, shape (n,).
    """
    return {name: float(values[0]) for name, values in _metrics(project, [churned], probabilities, offered).items()}


def estimate_errors(
    project: Project, test: Rows, probabilities: NDArray[np.float32], threshold: float
) -> dict[str, float]:
    """Return the root mean square error of ``estimate_metrics`` over the snapshots of a test.

    Args:
        project: The costs, and the seed of the draws.
        test: The n test rows.
        probabilities: The churn probabilities, shape (n,).
        threshold: The lowest probability that is predicted as ``churn``.
    """
    squared: dict[str, list[float]] = {}
    for day in np.unique(test.days):
        rows = test.days == day
        expected, churned = probabilities[rows].astype(np.float64), test.churned[rows] == 1
        offered = reaches_threshold(expected, threshold)
        realised = realised_metrics(project, churned, expected, offered)
        for name, estimate in estimate_metrics(project, expected, offered).items():
            if name in realised:
                squared.setdefault(name, []).append((estimate.value - realised[name]) ** 2)
    return {name: float(np.sqrt(np.mean(values))) for name, values in squared.items()}


def _metrics(
    project: Project,
    labels: Iterable[NDArray[np.bool_]],
    probabilities: NDArray[np.float64],
    offered: NDArray[np.bool_],
) -> dict[str, NDArray[np.float64]]:
    """Return the metrics for each of several labellings of the rows; undefined metrics are left out."""
    costs, count, offers = project.requirements.costs, len(probabilities), np.float64(offered.sum())
    ranks = rankdata(probabilities)
    sums = np.array([(churned.sum(), churned[offered].sum(), ranks[churned].sum()) for churned in labels], dtype=float)
    churners, reached, rank_sum = sums.T
    saved = reached * costs.missed_churner_usd - (offers - reached) * costs.needless_offer_usd
    with np.errstate(divide="ignore", invalid="ignore"):
        metrics = {
            # The AUC is the Mann-Whitney statistic divided by the number of pairs.
            "auc": (rank_sum - churners * (churners + 1) / 2) / (churners * (count - churners)),
            "precision": reached / offers,
            "recall": reached / churners,
            "saving_usd_per_1000": saved / count * 1000,
            "observed_churn": churners / count,
        }
    return {name: values for name, values in metrics.items() if np.isfinite(values).all()}
