"""Feature importance: the mean absolute contribution of each feature on test rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from include.training.data.rows import evenly_spaced
from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract
from include.training.model.explain import contributions

SAMPLE_ROWS = 1_000
_CLEAR = 0.5
"""The lowest absolute rank correlation of a feature with a clear direction."""

Direction = Literal["raise", "lower", "mixed", "category"]


@dataclass(frozen=True)
class Importance:
    """The importance of one feature.

    Attributes:
        feature: Its name.
        description: Its meaning.
        mean_contribution: Mean absolute contribution to the log-odds of churn.
        high_values: The effect of high values on the risk; ``category`` for a category.
    """

    feature: str
    description: str
    mean_contribution: float
    high_values: Direction


def importances(bundle: Bundle, matrix: NDArray[np.float32]) -> list[Importance]:
    """Return the importance of the model's features, the largest first; features that no tree uses are left out.

    Args:
        bundle: The model.
        matrix: Encoded rows, shape (n, k). Of more than ``SAMPLE_ROWS`` rows, an evenly spaced sample is used.
    """
    sample = matrix[evenly_spaced(len(matrix), SAMPLE_ROWS)]
    added = contributions(bundle, sample)[:, :-1]
    sizes = np.abs(added).mean(axis=0)
    return [
        Importance(feature.name, feature.description, float(sizes[i]), _direction(feature, sample[:, i], added[:, i]))
        for i, feature in sorted(enumerate(bundle.contract.features), key=lambda item: -sizes[item[0]])
        if sizes[i] > 0
    ]


def _direction(feature: FeatureContract, values: NDArray[np.float32], added: NDArray[np.float64]) -> Direction:
    if feature.dtype == "category":
        return "category"
    known = ~np.isnan(values)
    if len(np.unique(values[known])) < 2 or len(np.unique(added[known])) < 2:
        return "mixed"
    correlation = float(spearmanr(values[known], added[known]).statistic)
    return "raise" if correlation > _CLEAR else "lower" if correlation < -_CLEAR else "mixed"
