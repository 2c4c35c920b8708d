"""A fitted model: a booster and its calibrator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xgboost as xgb

from include.projects.training import Training
from include.training.data.rows import Rows, RowSplit
from include.training.fitting.booster import FitParts
from include.training.fitting.calibration import Calibration, calibrate
from include.training.fitting.history import History
from include.training.model.bundle import Bundle
from include.training.model.contract import ModelContract


@dataclass(frozen=True)
class FittedModel:
    """A booster and its calibrator.

    Attributes:
        booster: The XGBoost model.
        device: The device that fitted it, as XGBoost names it.
        calibration: The calibrator, which turns the booster's log-odds into probabilities, and how it was chosen.
        history: The weights of the rows by age with which the booster was fitted, and how they were chosen.
    """

    booster: xgb.Booster
    device: str
    calibration: Calibration
    history: History

    def bundle(self, contract: ModelContract) -> Bundle:
        """Return the model as a bundle without samples.

        Args:
            contract: The inputs of the model.
        """
        return Bundle(contract, self.booster, calibrator=self.calibration.calibrator)


def fit_model(
    rows: Rows, blocks: Sequence[RowSplit], training: Training, history: History, fit_parts: FitParts
) -> FittedModel:
    """Fit a booster on all rows, and its calibrator on out-of-fold log-odds of the same rows.

    Args:
        rows: The rows.
        blocks: The blocks of the calibrator's forward validation; see ``calibrate``.
        training: The number of folds, and the seed of their draw.
        history: The half-life of the rows' weights.
        fit_parts: Fits boosters with these weights on parts of ``rows``.

    Raises:
        DeviceError: XGBoost trained on another device than the configured one.
    """
    (fitted,) = fit_parts([np.ones(len(rows), dtype=bool)])
    return FittedModel(fitted.booster, fitted.device, calibrate(rows, blocks, training, fit_parts), history)
