"""Fit the curve of a calibrator to the log-odds of a booster and the labels of the same rows."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgWarning
from scipy.special import logit
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from include.training.model.calibrator import Calibrator, Method

_GROUPS = 100
_GROUP_ROWS = 50
_EQUAL = 1e-9


def fit_curve(method: Method, margins: NDArray[np.float32], churned: NDArray[np.int8]) -> Calibrator | None:
    """Return a calibrator of one method.

    Args:
        method: The method.
        margins: Log-odds of n rows that the booster was not fitted on, shape (n,).
        churned: Their labels, shape (n,).

    Returns:
        The calibrator; None if no rising curve can be fitted: the rows have one label only, or rows with higher
        log-odds churned less. The methods ``none`` and ``base_rate`` always have a curve.
    """
    if method == "none":
        return Calibrator()
    if method == "base_rate":
        return _base_rate(churned)
    if len(np.unique(churned)) < 2:
        return None
    wide = margins.astype(np.float64)
    if method == "logistic":
        return _logistic(wide, churned)
    return _beta(wide, churned) if method == "beta" else _isotonic(wide, churned)


def _base_rate(churned: NDArray[np.int8]) -> Calibrator:
    rows = len(churned)
    # Half a row of each label: a share of 0 or 1 has infinite log-odds.
    share = min(max(float(churned.sum()), 0.5), rows - 0.5) / rows
    return Calibrator(method="base_rate", slope=0.0, intercept=float(logit(share)))


def _logistic(margins: NDArray[np.float64], churned: NDArray[np.int8]) -> Calibrator | None:
    (slope,), intercept = _regression(margins[:, None], churned)
    if not (slope > 0 and np.isfinite([slope, intercept]).all()):
        return None
    return Calibrator(method="logistic", slope=slope, intercept=intercept)


def _beta(margins: NDArray[np.float64], churned: NDArray[np.int8]) -> Calibrator | None:
    """Fit beta calibration; if one of the slopes is negative, it is zero in the fit of the other (Kull et al. 2017)."""
    columns = np.column_stack([-np.logaddexp(0.0, -margins), np.logaddexp(0.0, margins)])
    slopes, intercept = _regression(columns, churned)
    if min(slopes) < 0:
        kept = int(np.argmax(slopes))
        (slope,), intercept = _regression(columns[:, [kept]], churned)
        slopes = [slope, 0.0] if kept == 0 else [0.0, slope]
    if not (min(slopes) >= 0 and max(slopes) > 0 and np.isfinite([*slopes, intercept]).all()):
        return None
    return Calibrator(method="beta", slope=slopes[0], high_slope=slopes[1], intercept=intercept)


def _isotonic(margins: NDArray[np.float64], churned: NDArray[np.int8]) -> Calibrator | None:
    """Fit centered isotonic regression to groups of rows with similar log-odds.

    One row with the overall share of churners is added to each group, so that no group has a share of 0 or 1.
    Neighbouring groups whose shares do not rise are pooled; a knot is the centre of the pooled groups.
    """
    groups = np.array_split(np.argsort(margins, kind="stable"), min(_GROUPS, max(1, len(margins) // _GROUP_ROWS)))
    sizes = np.array([len(group) for group in groups], dtype=np.float64)
    centres = np.array([margins[group].mean() for group in groups])
    shares = np.array([(churned[group].sum() + churned.mean()) / (len(group) + 1) for group in groups])
    rising = IsotonicRegression().fit_transform(np.arange(len(groups)), shares, sample_weight=sizes)
    # Sums in another order give pooled groups values that differ in the last digit.
    pool = np.cumsum(np.append(False, np.diff(rising) > _EQUAL))
    members = np.bincount(pool, sizes)
    pooled, values = np.bincount(pool, sizes * centres) / members, np.bincount(pool, sizes * rising) / members
    # Groups of equal log-odds have the same centre.
    distinct = np.append(True, np.diff(pooled) > _EQUAL)
    if distinct.sum() < 2:
        return None
    points = zip(pooled[distinct].tolist(), logit(values[distinct]).tolist(), strict=True)
    return Calibrator(method="isotonic", knots=tuple(points))


def _regression(columns: NDArray[np.float64], churned: NDArray[np.int8]) -> tuple[list[float], float]:
    # The order of a sum, and therefore its last digit, depends on the number of threads.
    with threadpool_limits(1), warnings.catch_warnings():
        # For columns that hardly differ, scikit-learn warns and uses a slower solver.
        warnings.simplefilter("ignore", LinAlgWarning)
        curve = LogisticRegression(C=np.inf, solver="newton-cholesky").fit(columns, churned)
    return [float(slope) for slope in curve.coef_[0]], float(curve.intercept_[0])
