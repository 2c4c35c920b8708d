"""One trial of the search: hyperparameters from Optuna, scored fold by fold, pruned if it falls behind.

Trial *n* depends on the data, the seed, and the trials of earlier *batches*; it does not depend on the worker, the
time, or other trials of its batch. The trials of one batch can therefore run in parallel.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import optuna
import xgboost as xgb
from numpy.typing import NDArray
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, Trial, TrialState
from sklearn.metrics import average_precision_score, f1_score

from include.errors import ChurnflowError
from include.projects.training import SearchSpace, Training
from include.training.data.rows import Rows, RowSplit
from include.training.fitting.booster import Device, Hyperparameters, booster_parameters, require_device
from include.training.tuning.study import NUMBER

Metric = Literal["average_precision", "f1"]
BATCH_SIZE = 4
"""Trials in a batch. The first batch is drawn at random. In a larger batch, more trials run in parallel, but each trial
depends on the results of fewer earlier trials."""
_PRUNE_BELOW_P = 0.26
"""Slightly above 1/4, the p-value of a trial that was worse than the best one in both of its first two folds."""
_F1_THRESHOLD = 0.5


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
        device: The device to train on.
        fingerprint: Identifies the data.
    """

    folds: Sequence[Fold]
    rows: int
    training: Training
    device: Device
    fingerprint: str

    @property
    def name(self) -> str:
        """The study's name: a checksum of all inputs of a trial, so that trials of other inputs are not reused."""
        decides = {"seed", "cv_folds", "tuning_bins", "metric", "tuning_rows", "search_space", "n_trials"}
        searched = self.training.model_dump_json(include=decides)
        rules = f"batches of {BATCH_SIZE}, pruned below {_PRUNE_BELOW_P}"
        parts = [self.fingerprint, searched, self.device, rules, xgb.__version__, optuna.__version__]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()


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
    study = optuna.create_study(
        direction="maximize", sampler=_sampler(search.training, number), pruner=_pruner(), storage=None
    )
    study.add_trials([finished[earlier] for earlier in earlier_batches(number)])
    trial = study.ask()
    chosen = _suggest(trial, search.training.search_space)
    scores = _score_until_pruned(search, trial, chosen)
    trial.set_user_attr(NUMBER, number)
    trial.set_user_attr("worker", worker)
    trial.set_user_attr("seconds", round(time.perf_counter() - started, 3))
    trial.set_user_attr("cpu_seconds", round(time.thread_time() - cpu_started, 3))
    if len(scores) < len(search.folds):
        return study.tell(trial, state=TrialState.PRUNED)
    return study.tell(trial, sum(scores) / len(scores))


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


def _score_until_pruned(search: Search, trial: Trial, chosen: Hyperparameters) -> list[float]:
    training = search.training
    parameters = booster_parameters(chosen, seed=training.seed, max_bin=training.tuning_bins, device=search.device)
    scores: list[float] = []
    for number, fold in enumerate(search.folds):
        scores.append(_score_fold(fold, parameters, chosen.n_estimators, training.metric, search.device))
        trial.report(scores[-1], number)
        if len(scores) < len(search.folds) and trial.should_prune():
            break
    return scores


def _score_fold(fold: Fold, parameters: dict[str, object], trees: int, metric: Metric, device: Device) -> float:
    booster = xgb.train(parameters, fold.train, trees)
    require_device(booster, device)
    predicted = booster.predict(fold.valid)
    if metric == "f1":
        return float(f1_score(fold.churned, predicted > _F1_THRESHOLD, zero_division=0.0))
    return float(average_precision_score(fold.churned, predicted))


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


def _pruner() -> optuna.pruners.WilcoxonPruner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return optuna.pruners.WilcoxonPruner(p_threshold=_PRUNE_BELOW_P, n_startup_steps=2)


def _suggest(trial: Trial, space: SearchSpace) -> Hyperparameters:
    def number(name: str) -> float:
        wanted = getattr(space, name)
        return float(trial.suggest_float(name, wanted.low, wanted.high, log=wanted.log))

    return Hyperparameters(
        n_estimators=trial.suggest_int("n_estimators", space.n_estimators.low, space.n_estimators.high),
        max_depth=trial.suggest_int("max_depth", space.max_depth.low, space.max_depth.high),
        learning_rate=number("learning_rate"),
        subsample=number("subsample"),
        colsample_bytree=number("colsample_bytree"),
        min_child_weight=number("min_child_weight"),
    )
