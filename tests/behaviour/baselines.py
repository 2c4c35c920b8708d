"""Baselines without boosted trees, and the advantage of the model over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from include.training.data.rows import Rows
from include.training.evaluation.bootstrap import CustomerBootstrap, Interval, interval
from include.training.evaluation.metrics import WeightedRanking

RESAMPLES = 200


@dataclass(frozen=True)
class Advantage:
    """Difference of two scores in AUC and PR-AUC, with 95 % intervals."""

    auc: float
    auc_interval: Interval
    pr_auc: float
    pr_auc_interval: Interval

    def __str__(self) -> str:
        texts = [f"{ends.low:+.4f}..{ends.high:+.4f}" for ends in (self.auc_interval, self.pr_auc_interval)]
        return f"AUC {self.auc:+.4f} ({texts[0]}), PR-AUC {self.pr_auc:+.4f} ({texts[1]})"


def advantage(test: Rows, model: NDArray[np.float32], other: NDArray[np.float64]) -> Advantage:
    """Compare two scores of the same test rows by a paired bootstrap."""
    rankings = [WeightedRanking(test.churned, score.astype(np.float64)) for score in (model, other)]

    def difference(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        of_model, of_other = (np.array(ranking.auc_and_average_precision(weights)) for ranking in rankings)
        return of_model - of_other

    auc, pr_auc = difference(np.ones(len(test)))
    drawn = np.array([difference(weights) for weights in CustomerBootstrap(test.customers, RESAMPLES, 1).weights()])
    return Advantage(auc, interval(drawn[:, 0]), pr_auc, interval(drawn[:, 1]))


def recency(test: Rows, feature: str) -> NDArray[np.float64]:
    """Rank customers by the days since their last event; customers without events rank highest."""
    return test.features[feature].to_pandas().fillna(np.inf).rank().to_numpy()
