"""Cross-validation. Features are binned once for each fold, and every trial uses the same bins."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from include.errors import ChurnflowError
from include.training.fit import Device, Hyperparameters, booster_parameters
from include.training.row_splits import RowSplit
from include.training.rows import Rows


class FoldError(ChurnflowError):
    """A fold cannot be scored."""


@dataclass(frozen=True)
class Fold:
    """One split, binned: what is learned from, and what is judged."""

    train: xgb.QuantileDMatrix
    valid: xgb.QuantileDMatrix
    churned: NDArray[np.int8]
    rows: int


def bin_folds(rows: Rows, splits: Sequence[RowSplit], max_bin: int) -> list[Fold]:
    """Return the folds of ``rows``, each with its own bins, taken from its training rows alone.

    Raises:
        FoldError: Validation rows of a fold all have the same label, so that no ranking can be judged.
    """
    return [_bin(rows, split, max_bin) for split in splits]


def score_folds(
    folds: Sequence[Fold], chosen: Hyperparameters, *, seed: int, max_bin: int, device: Device, threads: int
) -> list[float]:
    """Fit and judge every fold, and return each fold's average precision, in the order of the folds.

    Args:
        folds: From ``bin_folds`` with the same ``max_bin``.
        chosen: The hyperparameters.
        seed: Seeds the booster.
        max_bin: Histogram bins.
        device: Where to train.
        threads: Folds fitted side by side, each with one thread; the result does not depend on it.
    """
    parameters = booster_parameters(chosen, seed=seed, max_bin=max_bin, device=device)
    score = partial(_score, parameters=parameters, trees=chosen.n_estimators)
    # The largest fold starts first: it is the last one, and the others then share what it leaves.
    largest_first = sorted(range(len(folds)), key=lambda i: -folds[i].rows)
    with ThreadPoolExecutor(threads) as pool:
        scores = dict(zip(largest_first, pool.map(score, [folds[i] for i in largest_first]), strict=True))
    return [scores[i] for i in range(len(folds))]


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
    return Fold(binned, held_out, churned, int(train.sum()))


def _score(fold: Fold, *, parameters: dict[str, object], trees: int) -> float:
    booster = xgb.train(parameters, fold.train, trees)
    return float(average_precision_score(fold.churned, booster.predict(fold.valid)))
