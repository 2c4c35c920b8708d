"""One trial of a search: hyperparameters from Optuna, scored fold by fold, given up when it falls behind.

Trial number n, its *slot*, depends on the data, the seed, and the trials of earlier *generations*; never on who runs
it, when, or what runs beside it. The slots of one generation know nothing of each other, and can be run side by side.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optuna
import xgboost as xgb
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, Trial, TrialState

from include.projects.training import SearchSpace, Training
from include.training.model.fit import Device, Hyperparameters, booster_parameters
from include.training.tuning.folds import Fold, score_fold
from include.training.tuning.study import SLOT

GENERATION = 4
"""Slots in a generation, the first of which is drawn at random. More could run side by side, but would know less."""
_PRUNE_BELOW_P = 0.26
"""Above 1/4, the p-value of a trial that was worse than the best one in both of its first two folds."""


@dataclass(frozen=True)
class Search:
    """What the trials of a search run on.

    Attributes:
        folds: The binned folds.
        rows: How many rows they were made of.
        training: Trials, seed, bins, metric and search space.
        device: Where to train.
        fingerprint: Identifies the data.
    """

    folds: Sequence[Fold]
    rows: int
    training: Training
    device: Device
    fingerprint: str

    @property
    def name(self) -> str:
        """A checksum over everything that decides about a trial: trials of another name are not reused."""
        decides = {"seed", "cv_folds", "tuning_bins", "metric", "tuning_rows", "search_space", "n_trials"}
        searched = self.training.model_dump_json(include=decides)
        rules = f"generations of {GENERATION}, pruned below {_PRUNE_BELOW_P}"
        parts = [self.fingerprint, searched, self.device, rules, xgb.__version__, optuna.__version__]
        return hashlib.sha256("|".join(parts).encode()).hexdigest()


def earlier_generations(slot: int) -> range:
    """Return the slots that ``slot`` learns from."""
    return range(slot - slot % GENERATION)


def generation_of(slot: int, n_trials: int) -> range:
    """Return the slots of the generation that ``slot`` belongs to."""
    first = slot - slot % GENERATION
    return range(first, min(first + GENERATION, n_trials))


def run_trial(search: Search, finished: Mapping[int, FrozenTrial], slot: int, worker: int) -> FrozenTrial:
    """Run the trial of ``slot`` and return it, complete or pruned, with each fold's score.

    Args:
        search: What to run it on.
        finished: Finished trials by slot; those of all earlier generations must be among them.
        slot: The trial's number.
        worker: Who runs it, for the record.

    Raises:
        DeviceError: The device asked for was not used.
    """
    started, cpu_started = time.perf_counter(), time.thread_time()
    # A study of this trial alone: what others do meanwhile can change neither the parameters nor the pruning.
    study = optuna.create_study(
        direction="maximize", sampler=_sampler(search.training, slot), pruner=_pruner(), storage=None
    )
    study.add_trials([finished[number] for number in earlier_generations(slot)])
    trial = study.ask()
    chosen = _suggest(trial, search.training.search_space)
    scores = _score_until_pruned(search, trial, chosen)
    trial.set_user_attr(SLOT, slot)
    trial.set_user_attr("worker", worker)
    trial.set_user_attr("seconds", round(time.perf_counter() - started, 3))
    trial.set_user_attr("cpu_seconds", round(time.thread_time() - cpu_started, 3))
    if len(scores) < len(search.folds):
        return study.tell(trial, state=TrialState.PRUNED)
    return study.tell(trial, sum(scores) / len(scores))


def _score_until_pruned(search: Search, trial: Trial, chosen: Hyperparameters) -> list[float]:
    training = search.training
    parameters = booster_parameters(chosen, seed=training.seed, max_bin=training.tuning_bins, device=search.device)
    scores: list[float] = []
    for number, fold in enumerate(search.folds):
        scores.append(score_fold(fold, parameters, chosen.n_estimators, metric=training.metric, device=search.device))
        trial.report(scores[-1], number)
        if len(scores) < len(search.folds) and trial.should_prune():
            break
    return scores


def _sampler(training: Training, slot: int) -> optuna.samplers.TPESampler:
    # Optuna's defaults moved between majors: everything that decides about a trial is stated here.
    return optuna.samplers.TPESampler(
        seed=training.seed + slot,
        n_startup_trials=GENERATION,
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
