"""Choose how much history a model learns from: the half-life of the weights of its rows."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from include.logs import get_logger
from include.projects import Project
from include.training.data.rows import Rows, customer_folds, sample_customers
from include.training.evaluation.comparison import Contender, model_contender, ranking_gain
from include.training.fitting.booster import Fitted
from include.training.model.bundle import margins

log = get_logger(__name__)

FitBooster = Callable[[Rows, float | None], Fitted]
"""Fits a booster on all given rows, with weights of the given half-life in days; None for equal weights."""

_HORIZONS = (0.5, 1.0, 2.0)
_VALIDATION_SNAPSHOTS = 2
_FOLDS = 2
_MAX_ROWS = 50_000


@dataclass(frozen=True)
class HistoryScore:
    """A half-life in days, None for equal weights, and the AUC of its booster on the validation snapshots."""

    half_life_days: float | None
    auc: float

    @property
    def name(self) -> str:
        """The half-life as text."""
        return half_life_text(self.half_life_days)


@dataclass(frozen=True)
class History:
    """The weights of the rows by age with which a model was fitted, and how they were chosen.

    Attributes:
        half_life_days: The age in days that halves the weight of a row; None if the weights are equal.
        scores: The options that were compared; empty if no comparison was possible.
        gain_low: The lower bound of the difference in AUC between the best half-life and equal weights; None if no
            half-life had a higher AUC than equal weights.
    """

    half_life_days: float | None = None
    scores: tuple[HistoryScore, ...] = ()
    gain_low: float | None = None

    @property
    def name(self) -> str:
        """The half-life as text."""
        return half_life_text(self.half_life_days)


def half_life_text(half_life_days: float | None) -> str:
    """Return a half-life as text.

    Example:
        >>> half_life_text(14.0), half_life_text(None)
        ('half-life of 14 days', 'equal weights')
    """
    return "equal weights" if half_life_days is None else f"half-life of {half_life_days:g} days"


def half_lives(horizon_days: int) -> tuple[float | None, ...]:
    """Return the options: equal weights (None), and half, one and two horizons, in days."""
    return (None, *(horizon_days * horizons for horizons in _HORIZONS))


def choose_history(rows: Rows, project: Project, horizon_days: int, fit_booster: FitBooster, workers: int) -> History:
    """Choose the half-life for a model that is fitted on ``rows``, by cross-validation on the two latest snapshots.

    The customers are divided into two halves. Each option is fitted on all snapshots of one half, and is scored on the
    two latest snapshots of the other half. The labels of the rows of the fits are from the same time as those of the
    validation, but from other customers, so a change of the causes of churn is found as soon as labels from after the
    change are known.

    The half-life with the highest AUC is chosen if its AUC is significantly higher than that of equal weights: the
    lower bound of the difference, by bootstrap over customers, is above 0. The error probability of the bound is
    divided by the number of half-lives (Bonferroni), since the best of several half-lives may be better by chance.

    A fit uses at most about 50,000 rows, those of a sample of customers. The weights are equal, without a
    comparison, if the rows cover less than a horizon, or if all rows of a fit or of the validation have the same label.

    Args:
        rows: The rows, with the features of the model.
        project: The confidence of the bound; the seed and the number of the resamples.
        horizon_days: Days that a label covers.
        fit_booster: Fits a booster with the model's hyperparameters.
        workers: Number of parallel fits.

    Raises:
        DeviceError: XGBoost trained on another device than the configured one.
    """
    seed, options = project.training.seed, half_lives(horizon_days)
    folds = customer_folds(rows, _FOLDS, seed)
    is_latest = rows.on_days(rows.snapshot_days[-_VALIDATION_SNAPSHOTS:])
    fits = [sample_customers(rows.where(folds != fold), _MAX_ROWS, seed) for fold in range(_FOLDS)]
    valid, valid_folds = rows.where(is_latest), folds[is_latest]
    if not all(_has_both_labels(part) for part in (valid, *fits)) or not _covers(rows, horizon_days):
        return History()

    def contender(half_life_days: float | None) -> Contender:
        scores = np.empty(len(valid))
        for fold, fit in enumerate(fits):
            scored = valid_folds == fold
            scores[scored] = margins(fit_booster(fit, half_life_days).booster, valid.matrix[scored])
        return model_contender(project, valid, half_life_text(half_life_days), scores)

    with ThreadPoolExecutor(workers) as pool:
        contenders = dict(zip(options, pool.map(contender, options), strict=True))
    scores = tuple(HistoryScore(option, contender.scores.auc) for option, contender in contenders.items())
    equal = contenders.pop(None)
    best = max(contenders, key=lambda option: contenders[option].scores.auc)
    gain_low = None
    if contenders[best].scores.auc > equal.scores.auc:
        confidence = 1 - (1 - project.training.promotion.confidence) / len(contenders)
        gain_low = ranking_gain(project, valid, contenders[best], equal, confidence).low
    history = History(best if gain_low is not None and gain_low > 0 else None, scores, gain_low)
    log.info(
        "history chosen",
        extra={
            "rows": sum(map(len, fits)),
            "chosen": history.name,
            "auc": {score.name: round(score.auc, 4) for score in scores},
            "gain_low": gain_low,
        },
    )
    return history


def _has_both_labels(rows: Rows) -> bool:
    return len(np.unique(rows.churned)) == 2


def _covers(rows: Rows, days: int) -> bool:
    return bool(rows.days.max() - rows.days.min() >= np.timedelta64(days, "D"))
