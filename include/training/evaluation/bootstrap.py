"""How much chance there is in a figure: the bootstrap over customers.

The rows of one customer on several days are alike, so that drawing rows would make a figure look surer than it is. A
resample draws customers with replacement, each with all of that customer's rows: a customer drawn twice weighs twice
(the cluster bootstrap; Davison and Hinkley 1997, section 3.8).
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
    """The resamples of n rows. The same customers, number and seed give the same draws, however the rows are ordered.

    Two models judged with the same draws can be compared draw by draw.

    Args:
        customers: Whose row each is, n texts.
        resamples: How many resamples there are.
        seed: Seeds the draws.
    """

    def __init__(self, customers: pa.ChunkedArray | Sequence[str], resamples: int, seed: int) -> None:
        names, codes = np.unique(np.asarray(customers, dtype=str), return_inverse=True)
        self.customers = len(names)
        self.resamples = resamples
        self._codes = codes
        self._seed = seed

    def weights(self) -> Iterator[NDArray[np.float64]]:
        """Yield for each resample how often each row's customer was drawn, shape (n,)."""
        for drawn in self._drawn():
            yield drawn[self._codes].astype(np.float64)

    def totals(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weighted sum of each column of ``values`` (n, k) in each resample, shape (resamples, k).

        Sums by customer give the same as sums by row, and there are fewer of them.
        """
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
    """Return the middle ``confidence`` of a figure's resamples (percentile interval).

    A resample in which the figure has no value, such as a ranking of churners alone, is left out.
    """
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(resampled, [tail, 1 - tail])
    return Interval(float(low), float(high))


def lower_bound(resampled: NDArray[np.float64], confidence: float = CONFIDENCE) -> float:
    """Return the value that ``confidence`` of a figure's resamples reach (one-sided percentile bound)."""
    return float(np.nanquantile(resampled, 1 - confidence))
