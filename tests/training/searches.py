"""A reproducible search on random rows, with trials of a few tenths of a second."""

from __future__ import annotations

import dataclasses
import threading
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from optuna.trial import FrozenTrial
from pydantic import SecretStr

from include.training.data.rows import Rows, RowSplit
from include.training.tuning import workers as workers_module
from include.training.tuning.starting_points import starting_points
from include.training.tuning.study import SharedStudy
from include.training.tuning.trials import Search, bin_folds, run_trial
from include.training.tuning.tune import TuningResult
from include.training.tuning.workers import work
from tests.training.gold import small_project

FOLDS = 4


def drawn_rows(rows: int = 3_000, customers: int = 1_000) -> Rows:
    """Return rows of ten features, with three rows per customer; the label depends on the first two features."""
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
    return Search(
        folds,
        len(rows),
        training.model_copy(update={"search_space": space}),
        starting_points(space, None),
        "cpu",
        "drawn",
    )


def work_in_process(
    n_trials: int,
    journal: Path,
    database: str,
    worker: int,
    workers: int,
    hang_after: int | None,
    hanging: Event,
) -> None:
    """Run one worker of ``drawn_search``, for a separate process.

    With ``hang_after``, the worker finishes this many trials, sets ``hanging`` in the next trial and waits for the end
    of the process.
    """
    finished = 0

    def run_or_hang(*arguments: Any) -> FrozenTrial:
        nonlocal finished
        if finished == hang_after:
            hanging.set()
            threading.Event().wait()
        finished += 1
        return run_trial(*arguments)

    workers_module.run_trial = run_or_hang
    search = drawn_search(n_trials, trees=60)
    work(search, SharedStudy(search.name, journal, SecretStr(database)), worker, workers, min_patience=1.0)


def reproducible_history(tuned: TuningResult) -> list[object]:
    """Return the trials without the fields that depend on worker and time."""
    return [dataclasses.replace(record, seconds=0, cpu_seconds=0, worker=0) for record in tuned.history]
