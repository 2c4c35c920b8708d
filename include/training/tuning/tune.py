"""Search the hyperparameters with Optuna: seeded, resumable, and with the same result for any number of workers.

By default a trial's score is the mean average precision over the folds. The threshold follows from the costs, so the
search has to improve the ranking of the customers, among whom churners are rare; average precision measures such a
ranking. A project may choose F1 as its ``metric``; F1 evaluates decisions at a probability of 0.5.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from include.errors import ChurnflowError
from include.logs import get_logger
from include.projects import Project
from include.settings import Settings
from include.training.data.dataset import DatasetManifest, load_dataset, recorded_project
from include.training.data.rows import Rows, load_rows, model_contract, row_splits, sample_customers
from include.training.fitting.booster import Device, probe_device
from include.training.recipe import Hyperparameters
from include.training.tuning.starting_points import starting_points
from include.training.tuning.study import SharedStudy
from include.training.tuning.trials import Search, bin_folds, end_of_search, hyperparameters
from include.training.tuning.workers import work, work_in_threads

log = get_logger(__name__)

JOURNAL_FILE = "tuning.journal"


class WorkerError(ChurnflowError):
    """The search has no worker of this number."""


@dataclass(frozen=True)
class TrialRecord:
    """A finished trial, as recorded with the model.

    Attributes:
        number: Its number in the search, from 0.
        state: ``complete``, or ``pruned`` if it fell behind before its last fold.
        score: The mean score over its folds; of a pruned trial, over the folds that were scored.
        parameters: Its hyperparameters.
        fold_scores: The score of each fold that was scored.
        seconds: Its wall time.
        cpu_seconds: Its processor time.
        worker: The number of its worker.
    """

    number: int
    state: str
    score: float
    parameters: dict[str, float]
    fold_scores: tuple[float, ...]
    seconds: float
    cpu_seconds: float
    worker: int

    @classmethod
    def of(cls, number: int, trial: FrozenTrial) -> TrialRecord:
        """Return the record of a finished trial.

        Args:
            number: Its number in the search.
            trial: Optuna's trial.
        """
        scores = tuple(score for _, score in sorted(trial.intermediate_values.items()))
        return cls(
            number=number,
            state=trial.state.name.lower(),
            score=sum(scores) / len(scores),
            parameters=hyperparameters(trial).model_dump(),
            fold_scores=scores,
            seconds=trial.user_attrs["seconds"],
            cpu_seconds=trial.user_attrs["cpu_seconds"],
            worker=trial.user_attrs["worker"],
        )


@dataclass(frozen=True)
class TuningResult:
    """A finished search.

    Attributes:
        chosen: The hyperparameters of the best complete trial.
        metric: The metric of a score.
        score: The best trial's mean score over the folds.
        fold_scores: Its score of each fold, the earliest first.
        history: All trials by number.
        ended: The reason why there are no further trials.
        resumed: Number of trials that were finished before this run.
        earlier_seconds: The wall time of those trials, of all workers.
        rows: Number of rows that the search used.
    """

    chosen: Hyperparameters
    metric: str
    score: float
    fold_scores: tuple[float, ...]
    history: tuple[TrialRecord, ...]
    ended: str
    resumed: int
    earlier_seconds: float
    rows: int

    @classmethod
    def of(
        cls, search: Search, finished: Mapping[int, FrozenTrial], earlier: Mapping[int, FrozenTrial]
    ) -> TuningResult:
        """Choose the best complete trial; of equal scores, the one with the lowest number.

        Args:
            search: The inputs of the trials.
            finished: All trials by number.
            earlier: The trials that were finished before this run.
        """
        history = tuple(TrialRecord.of(number, trial) for number, trial in sorted(finished.items()))
        best = max((record for record in history if record.state == "complete"), key=lambda r: (r.score, -r.number))
        return cls(
            chosen=Hyperparameters.model_validate(best.parameters),
            metric=search.training.metric,
            score=best.score,
            fold_scores=best.fold_scores,
            history=history,
            ended=end_of_search(search, finished, len(finished)) or "",
            resumed=len(earlier),
            earlier_seconds=wall_seconds(earlier.values()),
            rows=search.rows,
        )

    @property
    def trials(self) -> int:
        """Number of trials."""
        return len(self.history)

    def figures(self) -> dict[str, float]:
        """Return the scores, the counts and the processor time of the search, as MLflow metrics."""
        pruned = sum(record.state == "pruned" for record in self.history)
        return {
            f"cv_{self.metric}": self.score,
            **{f"cv_{self.metric}_fold_{i + 1}": score for i, score in enumerate(self.fold_scores)},
            "trials_complete": self.trials - pruned,
            "trials_pruned": pruned,
            "tuning_cpu_seconds": round(sum(record.cpu_seconds for record in self.history), 2),
        }

    def as_dict(self) -> dict[str, Any]:
        """Return the search with all its trials as plain JSON types."""
        return asdict(self) | {"chosen": self.chosen.model_dump()}


@dataclass(frozen=True)
class WorkerResult:
    """The work of one worker in a search.

    Attributes:
        worker: The number of the worker.
        workers: Number of workers.
        ran: Number of trials that it ran.
        trials: Number of trials of the search, all finished.
        seconds: Its wall time, including the time that it waited.
    """

    worker: int
    workers: int
    ran: int
    trials: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types, for XCom."""
        return asdict(self)


def make_search(project: Project, manifest: DatasetManifest, train: Rows, device: Device) -> Search:
    """Return the search on the training rows, or on a sample of their customers if the project sets ``tuning_rows``.

    Args:
        project: The project: folds, metric and search space.
        manifest: The data set's manifest.
        train: The training rows.
        device: The device to train on.

    Raises:
        FoldError: A fold cannot be scored.
        TooFewSnapshotsError: With time, the first fold has no training rows.
        TooFewCustomersError: Without time, a fold would lack churners or customers who stay.
    """
    training = project.training
    rows = sample_customers(train, training.tuning_rows, training.seed)
    folds = bin_folds(rows, row_splits(rows, manifest, training), training.tuning_bins)
    champion = manifest.champion.recipe.hyperparameters.model_dump() if manifest.champion else None
    points = starting_points(training.search_space, champion)
    return Search(folds, len(rows), training, points, device, manifest.fingerprint)


def tune(search: Search, study: SharedStudy, workers: int) -> TuningResult:
    """Run the missing trials, and return the finished search.

    An interrupted search continues after its last finished trial, and has the same trials as an uninterrupted one.

    Args:
        search: The inputs of the trials.
        study: Stores the trials.
        workers: Number of trials to run in parallel, each with one thread of this process.

    Raises:
        StudyError: The trials cannot be stored.
        DeviceError: XGBoost trained on another device than the configured one.
    """
    earlier = study.finished()
    work_in_threads(search, study, workers)
    return TuningResult.of(search, study.finished(), earlier)


def open_study(search: Search, dataset_folder: Path, settings: Settings) -> SharedStudy:
    """Return the study of a search: in the configured database or, without a database, in the data set's folder.

    Args:
        search: The search.
        dataset_folder: The data set's folder.
        settings: The database and its time-outs.

    Raises:
        StudyError: The journal is damaged, or the database cannot be used.
    """
    storage = settings.training.tuning_storage
    return SharedStudy(search.name, dataset_folder / JOURNAL_FILE, storage, settings.database_timeouts)


def tune_as_worker(settings: Settings, dataset_folder: Path, worker: int) -> WorkerResult:
    """Run trials of a data set's search as one of several workers, until all trials are finished.

    Args:
        settings: The project, the number of workers, the device and the storage of the trials.
        dataset_folder: The data set's folder.
        worker: The number of this worker, from 0.

    Raises:
        DatasetError: The data set is damaged.
        ProjectMismatchError: The data set belongs to another project.
        ConfigurationError: The recorded configuration cannot be read, or was changed.
        WorkerError: ``worker`` is not below the number of workers.
        StudyError: The trials cannot be stored.
        DeviceError: XGBoost trained on another device than the configured one.
    """
    started = time.perf_counter()
    workers = settings.training.workers
    if not 0 <= worker < workers:
        raise WorkerError(
            f"There is no worker {worker}: the {workers} workers are numbered from 0.",
            where="setting CHURN_TRAINING__WORKERS",
            remedy="Configure the same number of workers for all workers, and start each with a different number below "
            "it.",
        )
    dataset = load_dataset(dataset_folder)
    project = recorded_project(dataset, settings)
    probe_device(settings.training.device)
    train = load_rows(dataset, dataset.manifest.train, model_contract(project, dataset.manifest))
    search = make_search(project, dataset.manifest, train, settings.training.device)
    study = open_study(search, dataset_folder, settings)
    ran = work(search, study, worker, workers)
    result = WorkerResult(worker, workers, ran, len(study.finished()), round(time.perf_counter() - started, 2))
    log.info("worker finished", extra={"work": result.as_dict()})
    return result


def wall_seconds(trials: Iterable[FrozenTrial]) -> float:
    """Return the time during which at least one of ``trials`` ran: parallel trials count once, pauses do not count."""
    spans = [(trial.datetime_start, trial.datetime_complete) for trial in trials]
    total, until = 0.0, None
    for start, end in sorted((start, end) for start, end in spans if start is not None and end is not None):
        total += max((end - max(start, until or start)).total_seconds(), 0.0)
        until = max(until or end, end)
    return round(total, 2)
