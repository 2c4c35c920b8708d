"""Calibration: what makes a booster's log-odds into probabilities that mean what they say.

Boosters are fitted to rank and are often too sure, or not sure enough, and the share of churners moves with the season.
Two numbers, fitted on rows that the booster has not learned from, correct both. They keep the order of the customers,
and few rows suffice to fit them, where an isotonic fit needs thousands of churners and puts many customers on one
probability.

It imports little, because the calibrator is shipped with the service.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.special import expit


class Calibrator(BaseModel):
    """Logistic calibration (Platt 1999): calibrated log-odds = ``slope`` * log-odds of the booster + ``intercept``.

    Attributes:
        method: ``none`` leaves the booster's probabilities as they are.
        slope: Below 1 the booster was too sure, above 1 not sure enough; above zero, so that the order stays.
        intercept: What is added to everybody's log-odds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Literal["none", "logistic"] = "none"
    slope: float = Field(default=1.0, gt=0)
    intercept: float = 0.0

    @model_validator(mode="after")
    def _none_changes_nothing(self) -> Calibrator:
        if self.method == "none" and (self.slope, self.intercept) != (1.0, 0.0):
            raise ValueError("method 'none' has slope 1 and intercept 0")
        return self

    def probabilities(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the calibrated probabilities of ``margins``, the booster's log-odds; both of shape (n,)."""
        calibrated: NDArray[np.float32] = expit(self.slope * margins.astype(np.float64) + self.intercept)
        return calibrated.astype(np.float32)


def fit_calibrator(margins: NDArray[np.float32], churned: NDArray[np.int8]) -> Calibrator:
    """Return the logistic calibration of a booster's log-odds.

    Args:
        margins: Log-odds of rows that the booster has not learned from, shape (n,).
        churned: Their labels, shape (n,).

    Returns:
        The calibrator; method ``none`` where no rising curve can be fitted: the rows have one label only, or those with
        higher log-odds churned less.
    """
    from sklearn.linear_model import LogisticRegression  # the service has no scikit-learn
    from threadpoolctl import threadpool_limits

    if len(np.unique(churned)) < 2:
        return Calibrator()
    # Threads would sum in another order, and the last digit would depend on how many there are.
    with threadpool_limits(1):
        curve = LogisticRegression(C=np.inf).fit(margins.reshape(-1, 1).astype(np.float64), churned)
    slope, intercept = float(curve.coef_[0, 0]), float(curve.intercept_[0])
    if not (slope > 0 and np.isfinite([slope, intercept]).all()):
        return Calibrator()
    return Calibrator(method="logistic", slope=slope, intercept=intercept)
