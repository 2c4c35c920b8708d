"""The folds of a data set, as rows: by time, or, where the data has none, by customer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from include.projects.training import Training
from include.training.data.dataset import DatasetManifest
from include.training.data.rows import Rows
from include.training.data.split import time_folds
from include.training.data.stratified import stratified_folds


@dataclass(frozen=True)
class RowSplit:
    """Which of n rows a fold learns from and which it is judged on, as masks of shape (n,), and its name for people."""

    train: NDArray[np.bool_]
    valid: NDArray[np.bool_]
    name: str


def row_splits(rows: Rows, manifest: DatasetManifest, training: Training) -> list[RowSplit]:
    """Return the folds of the training rows, split as the data set itself was.

    Raises:
        TooFewSnapshotsError: With time, the first fold has nothing to learn from.
        TooFewCustomersError: Without time, a fold would lack churners or customers who stay.
    """
    if manifest.split == "stratified":
        masks = stratified_folds(rows.customers.to_pylist(), rows.churned, training.cv_folds, training.seed)
        return [RowSplit(~mask, mask, f"fold {number + 1} of {len(masks)}") for number, mask in enumerate(masks)]
    return [
        RowSplit(rows.of(fold.train), rows.of(fold.test), f"fold that validates on {fold.test[0]}..{fold.test[-1]}")
        for fold in time_folds(manifest.train.days, manifest.horizon_days, training.cv_folds)
    ]
