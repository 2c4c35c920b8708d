"""Why a customer's risk is what it is: exact contributions of the features, and the largest of them in words.

It imports little, because it is shipped with the service.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract

MISSING = "none recorded"
_NEGLIGIBLE = 0.01
"""Log-odds; no probability moves by more than a quarter of a percentage point for so little."""


@dataclass(frozen=True)
class Reason:
    """One thing that moves a customer's risk.

    Attributes:
        feature: The feature; of those of its topic, the one that moves the risk most.
        value: The customer's value: a number, a category's text, or None when it is missing.
        contribution: What the features of its topic add to the log-odds of churn together.
        text: The feature's description and the value, for people.
    """

    feature: str
    value: float | str | None
    contribution: float
    text: str


@dataclass(frozen=True)
class Explanation:
    """Why one customer's risk is above or below the average.

    Attributes:
        raises: What raises the risk most, the largest first.
        lowers: What lowers it most, the largest first.
    """

    raises: tuple[Reason, ...]
    lowers: tuple[Reason, ...]


def contributions(bundle: Bundle, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what each feature adds to the log-odds of churn, by TreeSHAP (Lundberg et al. 2020), which is exact.

    The calibrator stretches the log-odds of the booster and moves them all alike: so it does with what they consist of.

    Args:
        bundle: The model.
        matrix: Encoded rows, shape (n, k); see ``ModelContract.encode``.

    Returns:
        Log-odds, shape (n, k + 1): the features, then the base, which is the same in every row. The sum of a row is
        the log-odds of the model's answer.
    """
    if not len(matrix):
        return np.empty((0, matrix.shape[1] + 1))
    rows = xgb.DMatrix(matrix, feature_names=bundle.booster.feature_names, nthread=1)
    calibrator = bundle.calibrator
    added = calibrator.slope * bundle.booster.predict(rows, pred_contribs=True).astype(np.float64)
    added[:, -1] += calibrator.intercept
    return added


def explain(bundle: Bundle, matrix: NDArray[np.float32], top: int = 3) -> list[Explanation]:
    """Return the reasons for the model's answer to each row.

    The features of a topic are one reason, so that three reasons are three different things. What hardly moves the
    risk is no reason.

    Args:
        bundle: The model.
        matrix: Encoded rows, shape (n, k); see ``ModelContract.encode``.
        top: How many reasons there are in each direction, at most.
    """
    features = bundle.contract.features
    topics = _topics(features)
    added = contributions(bundle, matrix)[:, :-1]
    sums = np.column_stack([added[:, members].sum(axis=1) for members in topics])

    def reasons(row: int, sign: int) -> Iterator[Reason]:
        for topic in np.argsort(-sign * sums[row], kind="stable")[:top]:
            if sign * sums[row, topic] < _NEGLIGIBLE:
                return
            members = topics[topic]
            strongest = members[int(np.argmax(sign * added[row, members]))]
            yield _reason(features[strongest], float(matrix[row, strongest]), float(sums[row, topic]))

    return [Explanation(tuple(reasons(row, 1)), tuple(reasons(row, -1))) for row in range(len(matrix))]


def _topics(features: Sequence[FeatureContract]) -> list[list[int]]:
    """Return the positions of the features of each topic."""
    positions: dict[str, list[int]] = {}
    for position, feature in enumerate(features):
        positions.setdefault(feature.topic or feature.name, []).append(position)
    return list(positions.values())


def _reason(feature: FeatureContract, encoded: float, contribution: float) -> Reason:
    value = _decoded(feature, encoded)
    return Reason(feature.name, value, contribution, f"{feature.description or feature.name}: {_words(value)}")


def _decoded(feature: FeatureContract, encoded: float) -> float | str | None:
    if np.isnan(encoded):
        return None
    return feature.categories[int(encoded)] if feature.categories else encoded


def _words(value: float | str | None) -> str:
    if value is None:
        return MISSING
    return value if isinstance(value, str) else told(value)


def told(number: float) -> str:
    """Return ``number`` for people: three digits are enough, and a whole number keeps all of its own."""
    return f"{number:,.0f}" if float(number).is_integer() or abs(number) >= 100 else f"{number:.3g}"
