"""A fitted model: a booster and its calibrator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xgboost as xgb

from include.projects.training import Training
from include.training.data.rows import Rows, RowSplit, customer_folds
from include.training.fitting.booster import FitParts
from include.training.fitting.calibration import Calibration, choose_calibrator
from include.training.fitting.history import History
from include.training.model.bundle import Bundle, margins
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

    Each fold holds out some customers on all their days. Its booster is fitted on the same days as the final booster,
    and scores customers that are not in its training rows. A booster that is fitted only on the days before a
    validation block lacks the latest season. A calibrator for such a booster would correct this lack, and would
    therefore be wrong for the final booster, which is fitted on the latest season.

    Args:
        rows: The rows.
        blocks: The blocks of the calibrator's forward validation; see ``choose_calibrator``.
        training: The number of folds, and the seed of their draw.
        history: The half-life of the rows' weights.
        fit_parts: Fits boosters with these weights on parts of ``rows``.

    Raises:
        DeviceError: XGBoost trained on another device than the configured one.
    """
    fold = customer_folds(rows, training.cv_folds, training.seed)
    held_out = [fold == number for number in range(training.cv_folds)]
    # All fits together, so that no worker waits for the fit on all rows.
    whole, *of_folds = fit_parts([np.ones(len(rows), dtype=bool), *(~mask for mask in held_out)])
    log_odds = np.empty(len(rows), dtype=np.float32)
    for fitted, mask in zip(of_folds, held_out, strict=True):
        log_odds[mask] = margins(fitted.booster, rows.matrix[mask])
    return FittedModel(whole.booster, whole.device, choose_calibrator(log_odds, rows, blocks), history)
