"""One trial of the search: hyperparameters, scored fold by fold with several numbers of trees, or pruned.

Trial *n* depends on the data, the seed, and the trials of earlier *batches*; it does not depend on the worker, the
time, or other trials of its batch. The trials of one batch can therefore run in parallel.

A booster of 500 trees contains the boosters of its first 100, 200, ... trees, so one fit scores several numbers of
trees. The number of trees is therefore not drawn: every trial uses its best number.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import optuna
import xgboost as xgb
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState
from sklearn.metrics import average_precision_score, f1_score

from include.errors import ChurnflowError
from include.projects.training import Training
from include.training.data.rows import Rows, RowSplit
from include.training.fitting.booster import Device, booster_parameters, require_device
from include.training.recipe import Hyperparameters
from include.training.tuning.starting_points import StartingPoint, distributions
from include.training.tuning.study import NUMBER

Metric = Literal["average_precision", "f1"]
BATCH_SIZE = 4
"""Trials in a batch. In a larger batch, more trials run in parallel, but each trial depends on the results of fewer
earlier trials."""
PATIENCE = 5 * BATCH_SIZE
"""Trials without a significant improvement after which the search stops."""
_TREE_COUNTS = 5
_F1_THRESHOLD = 0.5
_TREES = "n_estimators"


class FoldError(ChurnflowError):
    """A fold cannot be scored."""


@dataclass(frozen=True)
class Fold:
    """A binned fold: its training rows, its validation rows, and the labels of the validation rows."""

    train: xgb.QuantileDMatrix
    valid: xgb.QuantileDMatrix
    churned: NDArray[np.int8]


@dataclass(frozen=True)
class Search:
    """The inputs of all trials of a search.

    Attributes:
        folds: The binned folds.
        rows: Number of rows that the folds were made of.
        training: Number of trials, seed, bins, metric and search space.
        starting_points: The hyperparameters of the first trials.
        device: The device to train on.
        fingerprint: Identifies the data.
    """

    folds: Sequence[Fold]
    rows: int
    training: Training
    starting_points: Sequence[StartingPoint]
    device: Device
    fingerprint: str

    @property
    def name(self) -> str:
        """The study's name: a checksum of all inputs of a trial, so that trials of other inputs are not reused."""
        decides = {"seed", "cv_folds", "tuning_bins", "metric", "tuning_rows", "search_space", "n_trials"}
        searched = self.training.model_dump_json(include=decides)
        rules = f"{BATCH_SIZE} in a batch, {_TREE_COUNTS} numbers of trees, pruned one standard error behind"
        parts = [self.fingerprint, searched, json.dumps(self.starting_points), self.device, rules]
        return hashlib.sha256("|".join([*parts, xgb.__version__, optuna.__version__]).encode()).hexdigest()

    @property
    def tree_counts(self) -> list[int]:
        """The numbers of trees that every trial compares, evenly spaced over the search space."""
        trees = self.training.search_space.n_estimators
        return sorted({round(count) for count in np.linspace(trees.low, trees.high, _TREE_COUNTS)})


def bin_folds(rows: Rows, splits: Sequence[RowSplit], max_bin: int) -> list[Fold]:
    """Return the folds of ``rows``, binned once for all trials; the bins of a fold come from its training rows.

    Args:
        rows: The rows to search on.
        splits: The folds.
        max_bin: Histogram bins per feature.

    Raises:
        FoldError: The validation rows of a fold all have the same label, or its training rows have no churners.
    """
    return [_bin_fold(rows, split, max_bin) for split in splits]


def earlier_batches(number: int) -> range:
    """Return the numbers of the trials that trial ``number`` depends on."""
    return range(number - number % BATCH_SIZE)


def batch_of(number: int, n_trials: int) -> range:
    """Return the numbers of the trials in the batch of a trial.

    Args:
        number: The trial's number, from 0.
        n_trials: Number of trials of the search.
    """
    first = number - number % BATCH_SIZE
    return range(first, min(first + BATCH_SIZE, n_trials))


def run_trial(search: Search, finished: Mapping[int, FrozenTrial], number: int, worker: int) -> FrozenTrial:
    """Run a trial and return it, complete or pruned, with each fold's score.

    Args:
        search: The inputs of the trial.
        finished: Finished trials by number, among them all trials of earlier batches.
        number: The trial's number, from 0.
        worker: The number of the worker, which is recorded with the trial.

    Raises:
        DeviceError: XGBoost trained on another device than the configured one.
    """
    started, cpu_started = time.perf_counter(), time.thread_time()
    # This study has only the earlier batches, so that other trials of this batch change neither parameters nor pruning.
    study = optuna.create_study(direction="maximize", sampler=_sampler(search.training, number), storage=None)
    earlier = [finished[other] for other in earlier_batches(number)]
    study.add_trials(earlier)
    if number < len(search.starting_points):
        study.enqueue_trial(search.starting_points[number])
    trial = study.ask(dict(distributions(search.training.search_space)))
    scores = _score_until_pruned(search, trial.params, earlier)
    best = _best_column(scores)
    for fold, score in enumerate(scores[:, best]):
        trial.report(float(score), fold)
    trial.set_user_attr(NUMBER, number)
    trial.set_user_attr(_TREES, search.tree_counts[best])
    trial.set_user_attr("worker", worker)
    trial.set_user_attr("seconds", round(time.perf_counter() - started, 3))
    trial.set_user_attr("cpu_seconds", round(time.thread_time() - cpu_started, 3))
    if len(scores) < len(search.folds):
        return study.tell(trial, state=TrialState.PRUNED)
    return study.tell(trial, float(scores[:, best].mean()))


def hyperparameters(trial: FrozenTrial) -> Hyperparameters:
    """Return the hyperparameters of a finished trial, with its best number of trees."""
    return Hyperparameters(**trial.params, n_estimators=trial.user_attrs[_TREES])


def best_trial(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial with the highest score; of equal scores, the first. None if no trial is complete."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda trial: (trial.value, -trial.user_attrs[NUMBER]), default=None)


def noise(trials: Sequence[FrozenTrial]) -> float:
    """Return the standard deviation of the difference between two trials in one fold, around its mean.

    It is pooled over the differences between each complete trial and the best trial. The difference of two mean scores
    over k folds has the standard error ``noise / sqrt(k)``. Since each difference is within a fold, the difficulty of
    the folds does not increase it.

    Args:
        trials: Trials with the same folds.

    Returns:
        The standard deviation; infinite if fewer than two trials are complete.
    """
    best = best_trial(trials)
    others = [_fold_scores(trial) for trial in trials if trial.state == TrialState.COMPLETE and trial is not best]
    if best is None or not others:
        return float("inf")
    return float(np.sqrt(np.mean(np.var(np.array(others) - _fold_scores(best), axis=1, ddof=1))))


def end_of_search(search: Search, finished: Mapping[int, FrozenTrial], number: int) -> str | None:
    """Return the reason why the search ends before trial ``number``, the first of a batch; None if it continues.

    It ends after ``n_trials``, or when the last ``PATIENCE`` trials have not improved the best score by more than one
    standard error of the difference, since a smaller improvement can be noise.

    Args:
        search: The search.
        finished: Finished trials by number, among them all trials of earlier batches.
        number: The trial.
    """
    limit = search.training.n_trials
    if number >= limit:
        return f"all {limit} trials are finished"
    earlier = [finished[other] for other in range(number)]
    best, before = best_trial(earlier), best_trial(earlier[:-PATIENCE])
    if best is None or before is None:
        return None
    gain = float(np.mean(_fold_scores(best) - _fold_scores(before)))
    error = noise(earlier) / len(search.folds) ** 0.5
    if gain > error:
        return None
    return f"the last {PATIENCE} of {number} trials improved the score by {gain:.4f}; its standard error is {error:.4f}"


def _bin_fold(rows: Rows, split: RowSplit, max_bin: int) -> Fold:
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


def _score_until_pruned(
    search: Search, drawn: Mapping[str, Any], earlier: Sequence[FrozenTrial]
) -> NDArray[np.float64]:
    """Score fold by fold, until the trial is worse than the best earlier trial by more than one standard error.

    Returns:
        The scores, shape (scored folds, numbers of trees).
    """
    best, spread = best_trial(earlier), noise(earlier)
    scores: list[list[float]] = []
    for fold in search.folds:
        scores.append(_score_fold(search, fold, drawn))
        if best is not None:
            own = np.array(scores)[:, _best_column(np.array(scores))]
            if np.mean(own - _fold_scores(best)[: len(own)]) < -spread / len(own) ** 0.5:
                break
    return np.array(scores)


def _score_fold(search: Search, fold: Fold, drawn: Mapping[str, Any]) -> list[float]:
    training, counts = search.training, search.tree_counts
    chosen = Hyperparameters(**drawn, n_estimators=counts[-1])
    parameters = booster_parameters(chosen, seed=training.seed, max_bin=training.tuning_bins, device=search.device)
    booster = xgb.train(parameters, fold.train, counts[-1])
    require_device(booster, search.device)
    return [_score(fold, booster.predict(fold.valid, iteration_range=(0, count)), training.metric) for count in counts]


def _score(fold: Fold, predicted: NDArray[np.float32], metric: Metric) -> float:
    if metric == "f1":
        return float(f1_score(fold.churned, predicted > _F1_THRESHOLD, zero_division=0.0))
    return float(average_precision_score(fold.churned, predicted))


def _best_column(scores: NDArray[np.float64]) -> int:
    return int(np.argmax(scores.mean(axis=0)))


def _fold_scores(trial: FrozenTrial) -> NDArray[np.float64]:
    return np.array([score for _, score in sorted(trial.intermediate_values.items())])


def _sampler(training: Training, number: int) -> optuna.samplers.TPESampler:
    # All parameters are explicit, since Optuna's defaults changed between major versions.
    return optuna.samplers.TPESampler(
        seed=training.seed + number,
        n_startup_trials=BATCH_SIZE,
        n_ei_candidates=24,
        multivariate=True,
        group=False,
        constant_liar=False,
    )
