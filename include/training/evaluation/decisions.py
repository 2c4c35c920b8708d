"""What comes of offers, and what they save.

Money is counted against offering to nobody: a churner who gets an offer saves what missing that churner would have
cost, and an offer to anybody else costs what a needless offer costs.
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
    """What comes of offering to some of the customers.

    Attributes:
        accuracy: Share of customers decided rightly.
        precision: Share of offers that reach a churner.
        recall: Share of churners who get an offer.
        f1: Harmonic mean of precision and recall.
        offers_per_1000: Offers among 1,000 customers.
        saving_usd_per_1000: US dollars saved on 1,000 customers against offering to nobody.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float
    offers_per_1000: float
    saving_usd_per_1000: float


@dataclass(frozen=True)
class SavingPoint:
    """What offering to everybody from a probability of ``threshold`` upwards saves, and how many offers it takes."""

    threshold: float
    saving_usd_per_1000: float
    offers_per_1000: float


def decide(churned: NDArray[np.int8], offered: NDArray[np.bool_], costs: Costs) -> Decisions:
    """Return what comes of the offers ``offered`` to customers of whom ``churned`` leave; both of shape (n,)."""
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
    """Return the US dollars that each of n decisions saves against no offer, shape (n,)."""
    return np.where(offered, _offer_usd(churned, costs), 0.0)


def saving_curve(
    churned: NDArray[np.int8], probabilities: NDArray[np.float64], costs: Costs
) -> tuple[SavingPoint, ...]:
    """Return what every hundredth threshold from 0 to 1 saves; both arrays are of shape (n,)."""
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
