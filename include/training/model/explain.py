"""Explanations of predictions: exact contributions of the features, and the largest of them as text.

The module imports little, since it is shipped with the service.
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
_CURRENCIES = ("$", "€", "£")
_NEAR = 1e-4
_NEGLIGIBLE = 0.01
"""In log-odds. A smaller contribution changes a probability by at most a quarter of a percentage point."""


@dataclass(frozen=True)
class Reason:
    """One reason for a customer's risk: a topic, that is, a group of similar features.

    Attributes:
        feature: The feature of the topic with the largest contribution.
        value: The customer's value: a number, a category's text, or None if it is missing.
        contribution: The sum of the contributions of the topic's features to the log-odds of churn.
        text: The feature's description and the value with its unit, as text.
    """

    feature: str
    value: float | str | None
    contribution: float
    text: str


@dataclass(frozen=True)
class Explanation:
    """The reasons for one customer's risk.

    Attributes:
        raises: The reasons that raise the risk most, the largest first.
        lowers: The reasons that lower the risk most, the largest first.
    """

    raises: tuple[Reason, ...]
    lowers: tuple[Reason, ...]


def contributions(bundle: Bundle, matrix: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return each feature's contribution to the log-odds of churn, by TreeSHAP (Lundberg et al. 2020), which is exact.

    TreeSHAP explains the booster's log-odds. The calibrator maps the base and the customer's log-odds to calibrated
    log-odds; the slope of the straight line between these two points scales the customer's contributions. For a
    logistic calibrator, this is its ``slope``. The slope is never negative, so no contribution changes its sign.

    Args:
        bundle: The model.
        matrix: Encoded rows, shape (n, k); see ``ModelContract.encode``.

    Returns:
        Log-odds, shape (n, k + 1): the features, then the base, which is the same in every row. The sum of a row is
        the log-odds of the predicted probability.
    """
    if not len(matrix):
        return np.empty((0, matrix.shape[1] + 1))
    rows = xgb.DMatrix(matrix, feature_names=bundle.booster.feature_names, nthread=1)
    added = bundle.booster.predict(rows, pred_contribs=True).astype(np.float64)
    base, total = added[:, -1], added.sum(axis=1)
    # For a customer whose log-odds equal the base, the slope at the base is used.
    reached = np.where(np.abs(total - base) < _NEAR, base + _NEAR, total)
    curve = bundle.calibrator.log_odds
    calibrated_base = curve(base)
    scaled: NDArray[np.float64] = ((curve(reached) - calibrated_base) / (reached - base))[:, None] * added
    scaled[:, -1] = calibrated_base
    return scaled


def explain(bundle: Bundle, matrix: NDArray[np.float32], top: int = 3) -> list[Explanation]:
    """Return the reasons for the prediction of each row.

    The features of a topic form one reason, so that the reasons differ from each other. Reasons with a contribution
    below 0.01 are left out.

    Args:
        bundle: The model.
        matrix: Encoded rows, shape (n, k); see ``ModelContract.encode``.
        top: The largest number of reasons in each direction.
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
    text = f"{feature.description or feature.name}: {_value_text(value, feature.unit)}"
    return Reason(feature.name, value, contribution, text)


def _decoded(feature: FeatureContract, encoded: float) -> float | str | None:
    if np.isnan(encoded):
        return None
    return feature.categories[int(encoded)] if feature.categories else encoded


def _value_text(value: float | str | None, unit: str) -> str:
    if value is None:
        return MISSING
    return value if isinstance(value, str) else _with_unit(value, unit)


def _with_unit(number: float, unit: str) -> str:
    if unit in _CURRENCIES:
        return f"{'-' if number < 0 else ''}{unit}{number_text(abs(number))}"
    if unit == "%":
        return f"{number_text(round(number * 100, 1))}%"
    if not unit:
        return number_text(number)
    text = number_text(number)
    return f"{text} {unit.removesuffix('s') if text == '1' else unit}"


def number_text(number: float) -> str:
    """Return ``number`` as text: without decimals if it is whole or at least 100, else with three digits."""
    return f"{number:,.0f}" if float(number).is_integer() or abs(number) >= 100 else f"{number:.3g}"
