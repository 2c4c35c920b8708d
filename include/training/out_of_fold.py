"""The calibrator of a model, fitted on what boosters of its kind say about customers that they have not seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from include.logs import get_logger
from include.projects.training import Training
from include.training.data.row_splits import RowSplit
from include.training.data.rows import Rows
from include.training.model.bundle import margins
from include.training.model.calibration import Calibrator, fit_calibrator
from include.training.refit import FitEach

log = get_logger(__name__)

_MIN_CHURNERS = 2_000


def calibrate(rows: Rows, blocks: Sequence[RowSplit], training: Training, fit_each: FitEach) -> Calibrator:
    """Fit a calibrator on out-of-fold log-odds; the final booster may then learn from every training row.

    A fold leaves out a share of the customers on all their days. Its booster so has learned from the very days that the
    final booster learns from, and says what that one will be asked: something about customers it does not know. (A
    booster that ends before the block that it is asked about misses the latest season, and what corrects that corrects
    the final booster, which has seen the season, twice.)

    The curve is fitted on the latest blocks of days that hold 2,000 churners between them: near to the days that the
    model will be asked about, since the share of churners moves with the season, and enough of them that the intercept
    is known to a few hundredths, also when customers recur. Without time all rows are of one day, and all count.

    Args:
        rows: The training rows.
        blocks: The folds of the tuning, with time the earliest first; what they validate on are the blocks.
        training: The number of folds, and the seed that draws them.
        fit_each: Fits a booster of the model's kind on each of some parts of ``rows``.

    Returns:
        The calibrator; method ``none`` when no rising curve fits, which a log line says.

    Raises:
        DeviceError: ``device`` is ``cuda``, and XGBoost trained on the CPU instead.
    """
    log_odds = np.empty(len(rows), dtype=np.float32)
    folds = StratifiedGroupKFold(training.cv_folds, shuffle=True, random_state=training.seed)
    split = list(folds.split(rows.matrix, rows.churned, np.asarray(rows.customers, dtype=str)))
    boosters = fit_each([np.isin(np.arange(len(rows)), learned) for learned, _ in split])
    for booster, (_, held_out) in zip(boosters, split, strict=True):
        log_odds[held_out] = margins(booster, rows.matrix[held_out])
    used = _latest(rows, blocks)
    calibrator = fit_calibrator(log_odds[used], rows.churned[used])
    extra = {"rows": int(used.sum()), "churners": int(rows.churned[used].sum())}
    if calibrator.method == "none":
        log.warning("not calibrated, since no rising curve fits", extra=extra)
    else:
        log.info("calibrated", extra=extra | {"slope": calibrator.slope, "intercept": calibrator.intercept})
    return calibrator


def _latest(rows: Rows, blocks: Sequence[RowSplit]) -> NDArray[np.bool_]:
    used = np.zeros(len(rows), dtype=bool)
    for block in reversed(blocks):
        used |= block.valid
        # Without time a block is some customers of the one day; with it, this takes nothing away.
        used |= np.isin(rows.days, rows.days[used])
        if rows.churned[used].sum() >= _MIN_CHURNERS:
            break
    return used
