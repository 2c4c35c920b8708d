"""Confidence intervals by bootstrap over customers (cluster bootstrap; Davison and Hinkley 1997, section 3.8).

The rows of one customer on several days are correlated, so intervals from resampled rows would be too narrow. A
resample draws customers with replacement, each with all rows; a customer who is drawn twice has weight 2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """The ends of a confidence interval."""

    low: float
    high: float


class CustomerBootstrap:
    """Bootstrap resamples of n rows.

    The draws depend on the set of customers, the number of resamples and the seed, not on the order of the rows. Two
    models that are evaluated with the same draws can be compared draw by draw.

    Args:
        customers: The customer of each row, n texts.
        resamples: Number of resamples.
        seed: Seeds the draws.
    """

    def __init__(self, customers: pa.ChunkedArray | Sequence[str], resamples: int, seed: int) -> None:
        names, codes = np.unique(np.asarray(customers, dtype=str), return_inverse=True)
        self.customers = len(names)
        self.resamples = resamples
        self._codes = codes
        self._seed = seed

    def weights(self) -> Iterator[NDArray[np.float64]]:
        """Yield for each resample the number of draws of each row's customer, shape (n,)."""
        for drawn in self._drawn():
            yield drawn[self._codes].astype(np.float64)

    def totals(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted sum of each column of ``values`` (n, k) in each resample, shape (resamples, k)."""
        # Sums by customer have fewer terms than sums by row.
        by_customer = np.column_stack([np.bincount(self._codes, column, self.customers) for column in values.T])
        return np.array([drawn @ by_customer for drawn in self._drawn()])

    def means(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted mean of ``values`` (n,) in each resample, shape (resamples,)."""
        sums = self.totals(np.column_stack([values, np.ones(len(values))]))
        means: NDArray[np.float64] = sums[:, 0] / sums[:, 1]
        return means

    def _drawn(self) -> Iterator[NDArray[np.int64]]:
        random = np.random.default_rng(self._seed)
        for _ in range(self.resamples):
            chosen = random.integers(0, self.customers, self.customers)
            yield np.bincount(chosen, minlength=self.customers)


def interval(resampled: NDArray[np.float64], confidence: float = CONFIDENCE) -> Interval:
    """Return the percentile interval of a metric.

    Args:
        resampled: The metric in each resample; NaN, such as the AUC of rows with one label, is ignored.
        confidence: The share of the resamples between its ends.
    """
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    return Interval(float(low), float(high))


def lower_bound(resampled: NDArray[np.float64], confidence: float = CONFIDENCE) -> float:
    """Return the one-sided lower percentile bound of a metric.

    Args:
        resampled: The metric in each resample; NaN is ignored.
        confidence: The share of the resamples at or above the bound.
    """
    return float(np.nanquantile(resampled, 1 - confidence))
