"""Fit boosters: the final model, and models of the same kind on parts of the training rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import xgboost as xgb
from numpy.typing import NDArray

from include.errors import ChurnflowError
from include.projects.training import Training
from include.training.data.rows import Rows
from include.training.recipe import Hyperparameters

Device = Literal["cpu", "cuda"]
_SPLIT_FRACTION = 5**-0.5


class DeviceError(ChurnflowError):
    """XGBoost trained on another device than the configured one, or cannot use it."""


@dataclass(frozen=True)
class Fitted:
    """A booster, and the device that fitted it, as XGBoost names it (``cpu``, ``cuda:0``)."""

    booster: xgb.Booster
    device: str


FitParts = Callable[[Sequence[NDArray[np.bool_]]], list[Fitted]]
"""Fits one booster on each of several parts of the n training rows, given as masks of shape (n,)."""


def booster_parameters(chosen: Hyperparameters, *, seed: int, max_bin: int, device: Device) -> dict[str, Any]:
    """Return XGBoost's parameters for one single-threaded fit.

    XGBoost sums histograms in an order that depends on the number of threads. With one thread, a model depends on its
    data and seed alone, and several parallel fits use the cores better than one fit with many threads.

    Args:
        chosen: The hyperparameters.
        seed: Seeds the draws of rows and columns.
        max_bin: Histogram bins per feature.
        device: The device to train on.
    """
    return {
        **chosen.model_dump(exclude={"n_estimators"}),
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_bin": max_bin,
        "seed": seed,
        "nthread": 1,
        "device": device,
    }


def fit(
    matrix: NDArray[np.float32],
    churned: NDArray[np.int8],
    feature_names: list[str],
    chosen: Hyperparameters,
    *,
    seed: int,
    max_bin: int,
    device: Device,
    weights: NDArray[np.float64] | None = None,
) -> Fitted:
    """Fit a booster whose split thresholds lie between the values of the training rows (``shift_between_values``).

    Args:
        matrix: The features, shape (n, k).
        churned: The labels, shape (n,).
        feature_names: The k names, stored in the booster.
        chosen: The hyperparameters.
        seed: Seeds the draws of rows and columns.
        max_bin: Histogram bins per feature.
        device: The device to train on.
        weights: The weight of each row, shape (n,); equal weights by default.

    Returns:
        The booster, set to predict on the CPU, and the device that fitted it.

    Raises:
        DeviceError: ``device`` is ``cuda``, and XGBoost trained on the CPU.
    """
    # Tuning skips the shift: a fold's score hardly depends on the position of a threshold between two values.
    shifted = shift_between_values(matrix)
    data = xgb.QuantileDMatrix(
        shifted, churned, weight=weights, feature_names=feature_names, max_bin=max_bin, nthread=1
    )
    parameters = booster_parameters(chosen, seed=seed, max_bin=max_bin, device=device)
    booster = xgb.train(parameters, data, chosen.n_estimators)
    used = require_device(booster, device)
    booster.set_param({"device": "cpu"})
    return Fitted(booster, used)


def part_fitter(
    rows: Rows,
    feature_names: list[str],
    chosen: Hyperparameters,
    training: Training,
    *,
    half_life_days: float | None,
    device: Device,
    workers: int,
) -> FitParts:
    """Return a function that fits boosters with the same hyperparameters on parts of ``rows``.

    Args:
        rows: The training rows.
        feature_names: The names of the features.
        chosen: The hyperparameters of the candidate.
        training: The seed and the histogram bins.
        half_life_days: The half-life of the rows' weights; None for equal weights; see ``age_weights``.
        device: The device to train on; a fit raises ``DeviceError`` if XGBoost trains elsewhere.
        workers: Number of parallel fits, of one thread each. The boosters do not depend on it.
    """

    def fit_part(part: NDArray[np.bool_]) -> Fitted:
        return fit(
            rows.matrix[part],
            rows.churned[part],
            feature_names,
            chosen,
            seed=training.seed,
            max_bin=training.max_bin,
            device=device,
            weights=None if half_life_days is None else age_weights(rows.days[part], half_life_days),
        )

    def fit_parts(parts: Sequence[NDArray[np.bool_]]) -> list[Fitted]:
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(fit_part, parts))

    return fit_parts


def age_weights(days: NDArray[np.datetime64], half_life_days: float) -> NDArray[np.float64]:
    """Return weights that halve with each half-life of a row's age. Their mean is 1.

    With a mean of 1, the regularization has the same effect as with equal weights: ``min_child_weight`` is a sum of
    weighted second derivatives.

    Args:
        days: The snapshot days of n rows, shape (n,).
        half_life_days: The half-life, above 0.

    Returns:
        The weights, shape (n,).

    Example:
        >>> days = np.array(["2024-01-01", "2024-01-29"], dtype="datetime64[D]")
        >>> age_weights(days, half_life_days=28).round(3).tolist()
        [0.667, 1.333]
    """
    age = (days.max() - days) / np.timedelta64(1, "D")
    weights = 0.5 ** (age / half_life_days)
    scaled: NDArray[np.float64] = weights / weights.mean()
    return scaled


def probe_device(device: Device) -> None:
    """Fit one tree on two rows, to detect a missing GPU before any work is done.

    Raises:
        DeviceError: XGBoost cannot use ``device``.
    """
    rows = xgb.DMatrix(np.array([[0.0], [1.0]], dtype=np.float32), np.array([0, 1]), nthread=1)
    with xgb.config_context(verbosity=0):
        require_device(xgb.train({"tree_method": "hist", "device": device, "nthread": 1}, rows, 1), device)


def require_device(booster: xgb.Booster, device: Device) -> str:
    """Return the device that trained ``booster``. Without a GPU, XGBoost warns and trains on the CPU.

    Args:
        booster: A booster that was just trained.
        device: The configured device.

    Raises:
        DeviceError: Another device trained it.
    """
    used = str(json.loads(booster.save_config())["learner"]["generic_param"]["device"])
    if used.split(":")[0] != device:
        raise DeviceError(
            f"The configured device is {device}, but XGBoost trained on {used}.",
            where="setting CHURN_TRAINING__DEVICE",
            remedy="Run on a machine whose GPU this build of XGBoost can use, or set CHURN_TRAINING__DEVICE=cpu.",
        )
    return used


def shift_between_values(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``matrix`` with each value moved about half way down to the next smaller value of its column.

    XGBoost's histograms take a split's threshold from the values themselves: at ``x < 3``, 3 sessions go right and
    2.9999999 go left. Most features are counts or ratios, so many customers would be exactly on a threshold, and the
    last digit of a number could move a probability by tens of percent. A classic decision tree splits half way between
    two neighbouring values (Breiman et al., 1984, Classification and Regression Trees). A booster that is fitted on the
    returned matrix splits near this point. The fraction is irrational, since another customer's value often is exactly
    half way between two counts or shares.

    The order within a column does not change, so the trees split the rows of ``matrix`` as they would without the
    shift. Each row of ``matrix`` is on the same side of every threshold as its shifted row.

    Args:
        matrix: Features, shape (n, k). NaN stays NaN; the smallest value of a column does not move.
    """
    shifted = matrix.copy()
    for column in shifted.T:
        # factorize() sorts only the distinct values, which takes half the time of np.unique().
        position, values = pd.factorize(column, sort=True)
        known = position >= 0
        column[known] = _shifted_values(values)[position[known]]
    return shifted


def _shifted_values(values: NDArray[np.float32]) -> NDArray[np.float32]:
    below, above = values[:-1], values[1:]
    between = (below + _SPLIT_FRACTION * (above.astype(np.float64) - below)).astype(np.float32)
    # There is no float between two adjacent floats: the upper one is then the threshold.
    return np.concatenate([values[:1], np.where(between > below, between, above)])
