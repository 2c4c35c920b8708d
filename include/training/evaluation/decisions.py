"""Decisions and their savings.

Savings are relative to no offers at all. An offer to a churner saves the cost of a missed churner; an offer to another
customer costs a needless offer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from include.projects.requirements import Costs

_CURVE_POINTS = 101


@dataclass(frozen=True)
class Decisions:
    """Metrics of offers to some of the customers.

    Attributes:
        accuracy: Share of correct decisions.
        precision: Share of offers that go to churners.
        recall: Share of churners that get an offer.
        f1: Harmonic mean of precision and recall.
        offers_per_1000: Offers per 1,000 customers.
        saving_usd_per_1000: US dollars saved per 1,000 customers, relative to no offers.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float
    offers_per_1000: float
    saving_usd_per_1000: float


@dataclass(frozen=True)
class SavingPoint:
    """The savings and the number of offers at one threshold."""

    threshold: float
    saving_usd_per_1000: float
    offers_per_1000: float


def decide(churned: NDArray[np.int8], offered: NDArray[np.bool_], costs: Costs) -> Decisions:
    """Return the metrics of offers to n customers.

    Args:
        churned: The labels, shape (n,).
        offered: Which customers get an offer, shape (n,).
        costs: The costs of a missed churner and of a needless offer.
    """
    precision, recall, f1, _ = precision_recall_fscore_support(churned, offered, average="binary", zero_division=0)
    return Decisions(
        accuracy=float((churned == offered).mean()),
        precision=float(precision),
        recall=float(recall),
        f1=float(f1),
        offers_per_1000=float(offered.mean() * 1000),
        saving_usd_per_1000=float(savings(churned, offered, costs).mean() * 1000),
    )


def savings(churned: NDArray[np.int8], offered: NDArray[np.bool_], costs: Costs) -> NDArray[np.float64]:
    """Return the US dollars that each of n decisions saves relative to no offer, shape (n,).

    Args:
        churned: The labels, shape (n,).
        offered: Which customers get an offer, shape (n,).
        costs: The costs of a missed churner and of a needless offer.
    """
    return np.where(offered, _offer_usd(churned, costs), 0.0)


def saving_curve(
    churned: NDArray[np.int8], probabilities: NDArray[np.float64], costs: Costs
) -> tuple[SavingPoint, ...]:
    """Return the savings at thresholds from 0 to 1, in steps of 0.01.

    Args:
        churned: The labels, shape (n,).
        probabilities: The churn probabilities, shape (n,).
        costs: The costs of a missed churner and of a needless offer.
    """
    order = np.argsort(-probabilities, kind="stable")
    saved = np.concatenate([[0.0], np.cumsum(_offer_usd(churned[order], costs))])
    thresholds = np.linspace(0, 1, _CURVE_POINTS)
    offers = len(churned) - np.searchsorted(probabilities[order[::-1]], thresholds, side="left")
    per_1000 = 1000 / len(churned)
    return tuple(
        SavingPoint(float(threshold), float(saved[count] * per_1000), float(count * per_1000))
        for threshold, count in zip(thresholds, offers, strict=True)
    )


def _offer_usd(churned: NDArray[np.int8], costs: Costs) -> NDArray[np.float64]:
    return np.where(churned == 1, costs.missed_churner_usd, -costs.needless_offer_usd)
