"""Fit a booster, and check that the device asked for was used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from include.errors import ChurnflowError
from include.training.model.thresholds import between_values

Device = Literal["cpu", "cuda"]


class DeviceError(ChurnflowError):
    """The device asked for is not the one that trained."""


@dataclass(frozen=True)
class Fitted:
    """A booster, and the device that it was really fitted on, as XGBoost names it (``cpu``, ``cuda:0``)."""

    booster: xgb.Booster
    device: str


class Hyperparameters(BaseModel):
    """What the tuner chooses, under XGBoost's names; ``n_estimators`` is the number of trees."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_estimators: int
    max_depth: int
    learning_rate: float
    subsample: float
    colsample_bytree: float
    min_child_weight: float


def booster_parameters(chosen: Hyperparameters, *, seed: int, max_bin: int, device: Device) -> dict[str, Any]:
    """Return XGBoost's parameters for one single-threaded fit.

    Histograms are summed in an order that depends on the number of threads. With one thread a model depends on its data
    and seed alone, and a few fits side by side use the cores better than one fit with many threads.
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
) -> Fitted:
    """Fit the final model on all training rows.

    Args:
        matrix: The features, shape (n, k).
        churned: The labels, shape (n,).
        feature_names: The k names, kept in the booster.
        chosen: The hyperparameters.
        seed: Seeds the draws of rows and columns.
        max_bin: Histogram bins.
        device: Where to train.

    Returns:
        The booster, set to predict on the CPU, and the device that fitted it.

    Raises:
        DeviceError: ``device`` is ``cuda``, and XGBoost trained on the CPU instead.
    """
    # Only the model that is kept needs it: a fold's ranking hardly depends on where between two values a tree cuts.
    between = between_values(matrix)
    data = xgb.QuantileDMatrix(between, churned, feature_names=feature_names, max_bin=max_bin, nthread=1)
    parameters = booster_parameters(chosen, seed=seed, max_bin=max_bin, device=device)
    booster = xgb.train(parameters, data, chosen.n_estimators)
    used = require_device(booster, device)
    booster.set_param({"device": "cpu"})
    return Fitted(booster, used)


def probe_device(device: Device) -> None:
    """Fit one tree on two rows, so that a missing GPU is noticed before any work is done.

    Raises:
        DeviceError: XGBoost cannot use ``device``.
    """
    rows = xgb.DMatrix(np.array([[0.0], [1.0]], dtype=np.float32), np.array([0, 1]), nthread=1)
    with xgb.config_context(verbosity=0):
        require_device(xgb.train({"tree_method": "hist", "device": device, "nthread": 1}, rows, 1), device)


def require_device(booster: xgb.Booster, device: Device) -> str:
    """Return on which device ``booster`` trained; without a GPU XGBoost only warns, and goes on with the CPU.

    Raises:
        DeviceError: It was another device than ``device``.
    """
    used = str(json.loads(booster.save_config())["learner"]["generic_param"]["device"])
    if used.split(":")[0] != device:
        raise DeviceError(
            f"Training was to run on {device}, and ran on {used}.",
            where="setting CHURN_TRAINING__DEVICE",
            remedy="Run on a machine whose GPU this build of XGBoost can use, or set CHURN_TRAINING__DEVICE=cpu.",
        )
    return used
