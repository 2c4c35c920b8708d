"""Metrics of a ranking and of probabilities: weighted AUC, deciles, reliability bins, calibration error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DECILES = 10
_BINS = 10


@dataclass(frozen=True)
class Decile:
    """A tenth of the customers, by decreasing risk.

    Attributes:
        number: 1 for the riskiest tenth, 10 for the least risky.
        rows: Number of rows.
        churners: Number of rows that churned.
        lift: Its share of churners, divided by the share of churners among all rows.
        captured: Share of all churners in this tenth and the riskier ones.
    """

    number: int
    rows: int
    churners: int
    lift: float
    captured: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows of similar probability: their mean probability, their share of churners, and their number."""

    predicted: float
    observed: float
    rows: int


class WeightedRanking:
    """AUC and average precision of one ranking of n rows, for many row weights.

    The rows are sorted once; scikit-learn's functions sort them on every call.

    Args:
        churned: The labels, shape (n,).
        scores: The scores, shape (n,); rows of equal score are one step of the ranking.
    """

    def __init__(self, churned: NDArray[np.int8], scores: NDArray[np.float64]) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        self._ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
        self._churned = churned[self._order].astype(np.float64)

    def auc_and_average_precision(self, weights: NDArray[np.float64]) -> tuple[float, float]:
        """Return scikit-learn's ``roc_auc_score`` and ``average_precision_score`` for sample weights, shape (n,).

        Both are NaN if only one label has a positive weight.
        """
        weighted = weights[self._order]
        true_positives = np.cumsum(weighted * self._churned)[self._ends]
        positives = np.cumsum(weighted)[self._ends]
        false_positives = positives - true_positives
        if not (true_positives[-1] > 0 and false_positives[-1] > 0):
            return float("nan"), float("nan")
        gained = np.diff(true_positives, prepend=0.0) / true_positives[-1]
        # A churner counts as ranked above all non-churners of later steps and above half of those of the same step.
        tied = np.diff(false_positives, prepend=0.0)
        auc = float(np.sum(gained * (1 - (false_positives - tied / 2) / false_positives[-1])))
        precision = np.divide(true_positives, positives, out=np.zeros_like(positives), where=positives > 0)
        return auc, float(np.sum(gained * precision))


def deciles(churned: NDArray[np.int8], scores: NDArray[np.float64]) -> tuple[Decile, ...]:
    """Return the tenths of n rows by decreasing score; fewer than ten rows are one tenth each.

    Args:
        churned: The labels, shape (n,).
        scores: The scores, shape (n,).
    """
    ordered = churned[np.argsort(-scores, kind="stable")]
    total, share = int(churned.sum()), float(churned.mean())
    found, tenths = 0, []
    for number, part in enumerate(np.array_split(ordered, min(_DECILES, len(ordered))), start=1):
        churners = int(part.sum())
        found += churners
        tenths.append(Decile(number, len(part), churners, float(part.mean()) / share, found / total))
    return tuple(tenths)


def reliability(churned: NDArray[np.int8], probabilities: NDArray[np.float64]) -> tuple[ReliabilityBin, ...]:
    """Return ten bins with equal numbers of rows, by increasing probability.

    Bins of equal width would be almost empty or hold almost all rows, since most customers have a small probability.
    Rows of equal probability share a bin, so there may be fewer than ten bins.

    Args:
        churned: The labels, shape (n,).
        probabilities: The predicted probabilities, shape (n,).
    """
    edges = np.quantile(probabilities, np.linspace(0, 1, _BINS + 1)[1:-1])
    bins = np.searchsorted(edges, probabilities, side="left")
    return tuple(
        ReliabilityBin(float(probabilities[members].mean()), float(churned[members].mean()), int(members.sum()))
        for members in (bins == number for number in np.unique(bins))
    )


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the mean absolute difference of observed and predicted churn over the rows (Naeini et al. 2015)."""
    rows = sum(part.rows for part in bins)
    return sum(part.rows * abs(part.observed - part.predicted) for part in bins) / rows
