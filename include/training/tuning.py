"""Search the hyperparameters with Optuna: seeded, resumable, and the same on any number of cores.

A trial's score is the mean average precision (area under precision and recall) over the folds. The retention list is a
ranking with a threshold that comes from costs, so that the ranking of rare churners is what a trial should improve; F1
would judge a threshold that nobody uses.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
import xgboost as xgb
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState

from include.logs import get_logger
from include.projects.model import SearchSpace, Training
from include.training.fit import Device, Hyperparameters
from include.training.folds import Fold, score_folds

log = get_logger(__name__)


@dataclass(frozen=True)
class Tuned:
    """The best trial.

    Attributes:
        chosen: Its hyperparameters.
        score: Its mean average precision over the folds.
        fold_scores: The average precision of each fold, the earliest first.
        trials: How many trials there were.
        resumed: How many of them an earlier run had finished.
    """

    chosen: Hyperparameters
    score: float
    fold_scores: tuple[float, ...]
    trials: int
    resumed: int


def tune(
    folds: Sequence[Fold], training: Training, *, fingerprint: str, journal: Path, device: Device, threads: int
) -> Tuned:
    """Run the trials that are still missing and return the best of all.

    Every trial is written to ``journal`` when it ends. A run that was cut off goes on from there, and ends with the
    same trials as a run that was not: each trial's sampler is seeded with the trial's number.

    Args:
        folds: The binned folds.
        training: Trials, seed, bins and search space.
        fingerprint: Identifies the data; trials on other data or another search space are not reused.
        journal: The file that keeps the trials.
        device: Where to train.
        threads: Folds fitted side by side.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=_study_name(training, fingerprint, device),
        storage=JournalStorage(JournalFileBackend(str(journal))),
        direction="maximize",
        load_if_exists=True,
    )

    def objective(trial: Trial) -> float:
        chosen = _suggest(trial, training.search_space)
        scores = score_folds(
            folds, chosen, seed=training.seed, max_bin=training.max_bin, device=device, threads=threads
        )
        trial.set_user_attr("fold_scores", scores)
        return sum(scores) / len(scores)

    resumed = _finished(study)
    for number in range(resumed, training.n_trials):
        started = time.perf_counter()
        study.sampler = _sampler(training, number)
        study.optimize(objective, n_trials=1)
        log.info(
            "trial finished",
            extra={
                "trial": number + 1,
                "of": training.n_trials,
                "average_precision": round(float(study.get_trials(deepcopy=False)[-1].value or 0), 4),
                "best": round(study.best_value, 4),
                "seconds": round(time.perf_counter() - started, 2),
            },
        )
    best = study.best_trial
    return Tuned(
        chosen=Hyperparameters.model_validate(best.params),
        score=study.best_value,
        fold_scores=tuple(best.user_attrs["fold_scores"]),
        trials=_finished(study),
        resumed=resumed,
    )


def _study_name(training: Training, fingerprint: str, device: Device) -> str:
    searched = training.model_dump_json(include={"seed", "cv_folds", "max_bin", "search_space", "n_trials"})
    identity = "|".join([fingerprint, searched, device, xgb.__version__, optuna.__version__])
    return hashlib.sha256(identity.encode()).hexdigest()


def _sampler(training: Training, number: int) -> optuna.samplers.TPESampler:
    # Optuna's defaults moved between majors: everything that decides about a trial is stated here.
    return optuna.samplers.TPESampler(
        seed=training.seed + number,
        n_startup_trials=max(4, training.n_trials // 4),
        n_ei_candidates=24,
        multivariate=True,
        group=False,
        constant_liar=False,
    )


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


def _finished(study: optuna.Study) -> int:
    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
