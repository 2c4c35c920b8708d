"""Whether probabilities mean what they say: predicted against observed churn, in bins of equal numbers of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Rows of similar probability: their mean probability, the share of them that churned, and how many they are."""

    predicted: float
    observed: float
    rows: int


def reliability(churned: NDArray[np.int8], probabilities: NDArray[np.float64]) -> tuple[ReliabilityBin, ...]:
    """Return ten bins of equal mass (by quantiles of the probability), by rising probability.

    Equal mass, because nearly all customers have a small probability: bins of equal width would be empty or would hold
    everybody. Rows of one probability share a bin, so that there may be fewer than ten.
    """
    edges = np.quantile(probabilities, np.linspace(0, 1, _BINS + 1)[1:-1])
    bins = np.searchsorted(edges, probabilities, side="left")
    return tuple(
        ReliabilityBin(float(probabilities[members].mean()), float(churned[members].mean()), int(members.sum()))
        for members in (bins == number for number in np.unique(bins))
    )


def expected_calibration_error(bins: Sequence[ReliabilityBin]) -> float:
    """Return the mean distance of observed from predicted churn over the rows of ``bins`` (Naeini et al. 2015)."""
    rows = sum(part.rows for part in bins)
    return sum(part.rows * abs(part.observed - part.predicted) for part in bins) / rows
