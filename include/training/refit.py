"""Models of a candidate's kind on parts of its training rows: for calibration and for the search for leaks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from include.projects.training import Training
from include.training.data.rows import Rows
from include.training.model.fit import Device, Hyperparameters, fit

FitEach = Callable[[Sequence[NDArray[np.bool_]]], list[xgb.Booster]]
"""Fits a model on each of several parts of the n training rows, given as masks of shape (n,)."""


def refitter(
    rows: Rows, feature_names: list[str], chosen: Hyperparameters, training: Training, *, device: Device, workers: int
) -> FitEach:
    """Return what fits models with the same hyperparameters on parts of ``rows``.

    Args:
        rows: The training rows.
        feature_names: The names of the features.
        chosen: The hyperparameters of the candidate.
        training: Seed and bins.
        device: Where to train; a fit raises ``DeviceError`` when that is not where it ran.
        workers: Models fitted side by side, each with one thread; they do not depend on it.
    """

    def fit_part(part: NDArray[np.bool_]) -> xgb.Booster:
        return fit(
            rows.matrix[part],
            rows.churned[part],
            feature_names,
            chosen,
            seed=training.seed,
            max_bin=training.max_bin,
            device=device,
        ).booster

    def fit_each(parts: Sequence[NDArray[np.bool_]]) -> list[xgb.Booster]:
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(fit_part, parts))

    return fit_each
