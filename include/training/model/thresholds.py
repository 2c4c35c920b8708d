"""Thresholds that lie between the values of the training rows, and not on them.

XGBoost's histograms take a split's threshold from the values themselves: 3 sessions go right at ``x < 3``, and
2.9999999 go left. Most features are counts, shares of counts and ratios, so that whole crowds of customers would stand
on a threshold, and the last digit of a number could move a probability by tens of percent. A classic decision tree
cuts half way between two neighbouring values (Breiman et al., 1984, Classification and Regression Trees). A booster
that learns from the matrix returned here cuts near there: half way between two shares or counts, such as 0 and 1,
there is often the value of another customer, but at an irrational part of the way there is none.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PART_OF_THE_WAY = 5**-0.5


def between_values(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``matrix`` with each value moved about half way down to the next smaller value of its column.

    The order within a column stays, so that histograms, and hence trees, are those of ``matrix``. A row of ``matrix``
    falls on the same side of every threshold of such a tree as its moved row; a value near it does, too.

    Args:
        matrix: Features, shape (n, k); NaN where absent, which stays, as does the smallest value of a column.
    """
    moved = matrix.copy()
    for column in moved.T:
        known = ~np.isnan(column)
        values, position = np.unique(column[known], return_inverse=True)
        column[known] = _lowered(values)[position]
    return moved


def _lowered(values: NDArray[np.float32]) -> NDArray[np.float32]:
    below, above = values[:-1], values[1:]
    between = (below + _PART_OF_THE_WAY * (above.astype(np.float64) - below)).astype(np.float32)
    # Between two neighbouring floats there is no other; the upper one is their threshold.
    return np.concatenate([values[:1], np.where(between > below, between, above)])
