"""A search on drawn rows that any process makes the same, with trials of some tenths of a second."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pyarrow as pa
from pydantic import SecretStr

from include.training.data.rows import Rows, RowSplit
from include.training.tuning.study import SharedStudy
from include.training.tuning.trials import Search, bin_folds
from include.training.tuning.tune import TuningResult
from include.training.tuning.workers import work
from tests.training.gold import small_project

FOLDS = 4


def drawn_rows(rows: int = 3_000, customers: int = 1_000) -> Rows:
    """Return rows of ten features, the first two of which explain who churns; a customer has three."""
    rng = np.random.default_rng(7)
    matrix = rng.standard_normal((rows, 10)).astype(np.float32)
    churned = (matrix[:, 0] + matrix[:, 1] ** 2 + rng.standard_normal(rows) > 2).astype(np.int8)
    return Rows(
        days=np.datetime64("2023-01-01") + np.arange(rows) // customers,
        customers=pa.chunked_array([[f"c{i % customers}" for i in range(rows)]]),
        features=pa.table({f"f{i}": matrix[:, i] for i in range(10)}),
        matrix=matrix,
        churned=churned,
    )


def drawn_search(n_trials: int, trees: int = 40) -> Search:
    """Return a search of ``n_trials`` over about ``trees`` trees, on four folds."""
    training = small_project(n_trials=n_trials).training
    space = training.search_space.model_copy(
        update={"n_estimators": training.search_space.n_estimators.model_copy(update={"low": trees, "high": 2 * trees})}
    )
    rows = drawn_rows()
    masks = [np.arange(len(rows)) % FOLDS == fold for fold in range(FOLDS)]
    splits = [RowSplit(~mask, mask, "fold") for mask in masks]
    folds = bin_folds(rows, splits, training.tuning_bins)
    return Search(folds, len(rows), training.model_copy(update={"search_space": space}), "cpu", "drawn")


def work_in_process(n_trials: int, journal: Path, database: str, worker: int, workers: int) -> None:
    """Be one worker of ``drawn_search``; what a process of its own runs."""
    search = drawn_search(n_trials, trees=60)
    work(search, SharedStudy(search.name, journal, SecretStr(database)), worker, workers, min_patience=1.0)


def what_was_tried(tuned: TuningResult) -> list[object]:
    """Return everything about the trials that does not depend on who ran them."""
    return [dataclasses.replace(record, seconds=0, cpu_seconds=0, worker=0) for record in tuned.history]
