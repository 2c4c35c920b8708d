"""Cross-validation. Features are binned once for each fold, and every trial uses the same bins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, f1_score

from include.errors import ChurnflowError
from include.training.data.row_splits import RowSplit
from include.training.data.rows import Rows
from include.training.model.fit import Device, require_device

Metric = Literal["average_precision", "f1"]
_CALLED_CHURN = 0.5


class FoldError(ChurnflowError):
    """A fold cannot be scored."""


@dataclass(frozen=True)
class Fold:
    """One split, binned: what is learned from, and what is judged."""

    train: xgb.QuantileDMatrix
    valid: xgb.QuantileDMatrix
    churned: NDArray[np.int8]


def bin_folds(rows: Rows, splits: Sequence[RowSplit], max_bin: int) -> list[Fold]:
    """Return the folds of ``rows``, each with its own bins, taken from its training rows alone.

    Raises:
        FoldError: Validation rows of a fold all have the same label, so that no ranking can be judged.
    """
    return [_bin(rows, split, max_bin) for split in splits]


def score_fold(fold: Fold, parameters: dict[str, object], trees: int, *, metric: Metric, device: Device) -> float:
    """Fit a booster to a fold and return its score on the fold's validation rows.

    Args:
        fold: From ``bin_folds`` with the ``max_bin`` of ``parameters``.
        parameters: XGBoost's.
        trees: How many to fit.
        metric: ``average_precision``, or ``f1`` of calling a probability above 0.5 churn.
        device: Where it was to be fitted.

    Raises:
        DeviceError: It was fitted elsewhere.
    """
    booster = xgb.train(parameters, fold.train, trees)
    require_device(booster, device)
    predicted = booster.predict(fold.valid)
    if metric == "f1":
        return float(f1_score(fold.churned, predicted > _CALLED_CHURN, zero_division=0.0))
    return float(average_precision_score(fold.churned, predicted))


def _bin(rows: Rows, split: RowSplit, max_bin: int) -> Fold:
    train, valid = split.train, split.valid
    churned = rows.churned[valid]
    if len(np.unique(churned)) < 2 or not rows.churned[train].any():
        raise FoldError(
            "The fold lacks churners, or customers who stay.",
            where=split.name,
            remedy="Ingest more customers or days, or lower cv_folds in the project's training.yaml.",
        )
    binned = xgb.QuantileDMatrix(rows.matrix[train], rows.churned[train], max_bin=max_bin, nthread=1)
    held_out = xgb.QuantileDMatrix(rows.matrix[valid], churned, ref=binned, max_bin=max_bin, nthread=1)
    return Fold(binned, held_out, churned)
