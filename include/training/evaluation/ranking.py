"""How well scores rank churners: for rows of any weights, and by tenths of the customers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DECILES = 10


@dataclass(frozen=True)
class Decile:
    """A tenth of the customers, by falling risk.

    Attributes:
        number: 1 for the riskiest tenth, 10 for the least risky.
        rows: How many rows it has.
        churners: How many of them churned.
        lift: Their share of churners over the share among all.
        captured: Share of all churners that this tenth and the riskier ones hold.
    """

    number: int
    rows: int
    churners: int
    lift: float
    captured: float


class WeightedRanking:
    """Judges one ranking of n rows again and again with other weights; it sorts once, scikit-learn every time.

    Args:
        churned: The labels, shape (n,).
        scores: The scores, shape (n,); rows of one score are one step of the ranking.
    """

    def __init__(self, churned: NDArray[np.int8], scores: NDArray[np.float64]) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ordered = scores[self._order]
        self._ends = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
        self._churned = churned[self._order].astype(np.float64)

    def auc_and_average_precision(self, weights: NDArray[np.float64]) -> tuple[float, float]:
        """Return what ``roc_auc_score`` and ``average_precision_score`` give for ``sample_weight=weights``, shape (n,).

        Both are NaN when only one label has a weight.
        """
        weighted = weights[self._order]
        hits = np.cumsum(weighted * self._churned)[self._ends]
        taken = np.cumsum(weighted)[self._ends]
        misses = taken - hits
        if not (hits[-1] > 0 and misses[-1] > 0):
            return float("nan"), float("nan")
        found = np.diff(hits, prepend=0.0) / hits[-1]
        # A churner ranks above those who stay and come later, and shares a tie.
        wrong = np.diff(misses, prepend=0.0)
        auc = float(np.sum(found * (1 - (misses - wrong / 2) / misses[-1])))
        precision = np.divide(hits, taken, out=np.zeros_like(hits), where=taken > 0)
        return auc, float(np.sum(found * precision))


def deciles(churned: NDArray[np.int8], scores: NDArray[np.float64]) -> tuple[Decile, ...]:
    """Return the tenths of n rows by falling score; fewer than ten rows give fewer tenths."""
    ordered = churned[np.argsort(-scores, kind="stable")]
    total, share = int(churned.sum()), float(churned.mean())
    found, tenths = 0, []
    for number, part in enumerate(np.array_split(ordered, min(_DECILES, len(ordered))), start=1):
        churners = int(part.sum())
        found += churners
        tenths.append(Decile(number, len(part), churners, float(part.mean()) / share, found / total))
    return tuple(tenths)
