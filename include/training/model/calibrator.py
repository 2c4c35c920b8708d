"""The calibrator of a model: it turns a booster's log-odds into calibrated probabilities.

The module imports little, since it is shipped with the service.
"""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy.special import expit

Method = Literal["none", "logistic", "beta", "isotonic", "base_rate"]
Knot = tuple[float, float]

_LARGEST_LOG_ODDS = 15.0
"""As 32-bit floats, probabilities of larger log-odds would be close to 1, or rounded to 1."""
_FAR = 1e6


class Calibrator(BaseModel):
    """A rising curve from the log-odds of a booster, ``m``, to calibrated log-odds.

    Boosters are often overconfident or underconfident, and the share of churners varies with the season. A curve that
    is fitted on rows that the booster was not trained on corrects both. Every curve but ``base_rate`` rises strictly,
    so the ranking of the customers does not change. Calibrated log-odds are limited to -15 and 15: every probability is
    above 0 and below 1.

    Attributes:
        method: ``none``: ``m`` is unchanged. ``logistic`` (Platt 1999): ``slope * m + intercept``. ``beta`` (Kull et
            al. 2017): ``slope * ln p - high_slope * ln(1 - p) + intercept``, with ``p`` the booster's probability.
            ``isotonic`` (centered isotonic regression, Oron and Flournoy 2017): straight lines between ``knots``.
            ``base_rate``: ``intercept`` for every customer; the model does not rank the customers.
        slope: Below 1 corrects an overconfident booster, above 1 an underconfident one. With ``beta``, this is the
            slope at low log-odds.
        high_slope: ``beta`` only: the slope at high log-odds.
        intercept: Added to the log-odds of every customer.
        knots: ``isotonic`` only: points (``m``, calibrated log-odds), both rising strictly. Outside the knots, the
            curve continues with the mean slope between the first and the last knot.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    method: Method = "none"
    slope: float = Field(default=1.0, ge=0)
    high_slope: float | None = Field(default=None, ge=0)
    intercept: float = 0.0
    knots: Annotated[tuple[Knot, ...], Field(max_length=1_000)] = ()

    @model_validator(mode="after")
    def _check_curve(self) -> Self:
        if self.method in ("none", "isotonic") and (self.slope, self.intercept) != (1.0, 0.0):
            raise ValueError(f"method {self.method!r} has slope 1 and intercept 0")
        if self.method == "base_rate" and self.slope:
            raise ValueError("method 'base_rate' has slope 0")
        if (self.high_slope is not None) != (self.method == "beta"):
            raise ValueError("high_slope is given for, and only for, method 'beta'")
        if self.method in ("logistic", "beta") and not self.slope + (self.high_slope or 0.0) > 0:
            raise ValueError("the curve must rise: a slope must be above 0")
        if (len(self.knots) >= 2) != (self.method == "isotonic") or len(self.knots) == 1:
            raise ValueError("two or more knots are given for, and only for, method 'isotonic'")
        if self.knots and (np.diff(np.array(self.knots), axis=0) <= 0).any():
            raise ValueError("the curve must rise: both coordinates of the knots must rise")
        return self

    @property
    def ranks(self) -> bool:
        """Whether customers with different log-odds have different probabilities."""
        return self.method != "base_rate"

    def log_odds(self, margins: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the calibrated log-odds of ``margins``, the booster's log-odds; both of shape (n,)."""
        wide = margins.astype(np.float64)
        if self.knots:
            curve = np.interp(wide, *self._extended_knots)
        elif self.high_slope is None:
            curve = self.slope * wide + self.intercept
        else:
            # ln p = -ln(1 + exp(-m)), and -ln(1 - p) = ln(1 + exp(m)).
            curve = self.high_slope * np.logaddexp(0.0, wide) - self.slope * np.logaddexp(0.0, -wide) + self.intercept
        limited: NDArray[np.float64] = np.minimum(np.maximum(curve, -_LARGEST_LOG_ODDS), _LARGEST_LOG_ODDS)
        return limited

    def probabilities(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the calibrated probabilities of ``margins``, the booster's log-odds; both of shape (n,)."""
        calibrated: NDArray[np.float64] = expit(self.log_odds(margins))
        return calibrated.astype(np.float32)

    @cached_property
    def _extended_knots(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The coordinates of the knots, with a far point at each end, since ``np.interp`` does not extrapolate."""
        x, y = np.array(self.knots).T
        far = np.array([_FAR, _FAR * (y[-1] - y[0]) / (x[-1] - x[0])])
        points = np.vstack([self.knots[0] - far, self.knots, self.knots[-1] + far])
        return points[:, 0], points[:, 1]
