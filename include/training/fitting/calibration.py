"""Calibrate a model: fit a logistic curve on out-of-fold log-odds of boosters of the same kind."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from include.logs import get_logger
from include.projects.training import Training
from include.training.data.rows import Rows, RowSplit
from include.training.fitting.booster import FitParts
from include.training.model.bundle import Calibrator, margins

log = get_logger(__name__)

_MIN_CHURNERS = 2_000


def calibrate(rows: Rows, blocks: Sequence[RowSplit], training: Training, fit_parts: FitParts) -> Calibrator:
    """Fit a calibrator on out-of-fold log-odds, so that the final booster may be fitted on every training row.

    Each fold holds out some customers on all their days. Its booster is fitted on the same days as the final booster,
    and scores customers that are not in its training rows. A booster that is fitted only on the days before a
    validation block lacks the latest season. A calibrator for such a booster would correct this lack, and would
    therefore be wrong for the final booster, which is fitted on the latest season.

    The curve is fitted on the latest blocks of days that together hold 2,000 churners. These days are the nearest to
    the days that the model will score, and the share of churners varies with the season; 2,000 churners determine the
    intercept to a few hundredths, even if customers recur. Without time, all rows are of one day, and all are used.

    Args:
        rows: The training rows.
        blocks: The tuning folds, the earliest first if the data has time; their validation rows are the blocks.
        training: The number of folds, and the seed of their draw.
        fit_parts: Fits a booster of the model's kind on each of several parts of ``rows``.

    Returns:
        The calibrator; its method is ``none`` if no rising curve fits, and a warning is logged.

    Raises:
        DeviceError: ``device`` is ``cuda``, and XGBoost trained on the CPU.
    """
    log_odds = np.empty(len(rows), dtype=np.float32)
    folds = StratifiedGroupKFold(training.cv_folds, shuffle=True, random_state=training.seed)
    split = list(folds.split(rows.matrix, rows.churned, np.asarray(rows.customers, dtype=str)))
    boosters = fit_parts([np.isin(np.arange(len(rows)), train) for train, _ in split])
    for booster, (_, held_out) in zip(boosters, split, strict=True):
        log_odds[held_out] = margins(booster, rows.matrix[held_out])
    used = _latest_rows(rows, blocks)
    calibrator = fit_calibrator(log_odds[used], rows.churned[used])
    extra = {"rows": int(used.sum()), "churners": int(rows.churned[used].sum())}
    if calibrator.method == "none":
        log.warning("not calibrated: no rising curve fits", extra=extra)
    else:
        log.info("calibrated", extra=extra | {"slope": calibrator.slope, "intercept": calibrator.intercept})
    return calibrator


def fit_calibrator(margins: NDArray[np.float32], churned: NDArray[np.int8]) -> Calibrator:
    """Return the logistic calibration of a booster's log-odds (Platt 1999).

    Args:
        margins: Log-odds of rows that the booster was not fitted on, shape (n,).
        churned: Their labels, shape (n,).

    Returns:
        The calibrator; its method is ``none`` if no rising curve can be fitted: the rows have one label only, or rows
        with higher log-odds churned less.
    """
    if len(np.unique(churned)) < 2:
        return Calibrator()
    # The order of a sum, and therefore its last digit, depends on the number of threads.
    with threadpool_limits(1):
        curve = LogisticRegression(C=np.inf).fit(margins.reshape(-1, 1).astype(np.float64), churned)
    slope, intercept = float(curve.coef_[0, 0]), float(curve.intercept_[0])
    if not (slope > 0 and np.isfinite([slope, intercept]).all()):
        return Calibrator()
    return Calibrator(method="logistic", slope=slope, intercept=intercept)


def _latest_rows(rows: Rows, blocks: Sequence[RowSplit]) -> NDArray[np.bool_]:
    used = np.zeros(len(rows), dtype=bool)
    for block in reversed(blocks):
        used |= block.valid
        # Without time, a block is some customers of the only day; with time, this adds no rows.
        used |= np.isin(rows.days, rows.days[used])
        if rows.churned[used].sum() >= _MIN_CHURNERS:
            break
    return used
