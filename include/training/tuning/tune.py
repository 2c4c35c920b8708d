"""Search the hyperparameters with Optuna: seeded, resumable, and the same for any number of workers.

By default a trial's score is the mean average precision (area under precision and recall) over the folds. The retention
list is a ranking with a threshold that comes from costs, so that the ranking of rare churners is what a trial should
improve; F1 judges the threshold 0.5, which a project may choose as its ``metric``.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from include.errors import ChurnflowError
from include.logs import get_logger
from include.projects import Project
from include.settings import Settings
from include.training.data.configuration import recorded_project
from include.training.data.dataset import DatasetManifest, load_dataset
from include.training.data.row_splits import row_splits
from include.training.data.rows import Rows, load_rows, model_contract
from include.training.data.sampling import sample_customers
from include.training.model.fit import Device, probe_device
from include.training.tuning.folds import bin_folds
from include.training.tuning.study import SharedStudy
from include.training.tuning.trials import Search
from include.training.tuning.tuned import Tuned
from include.training.tuning.workers import work, work_side_by_side

log = get_logger(__name__)

JOURNAL_FILE = "tuning.journal"


class WorkerError(ChurnflowError):
    """A search has no such worker."""


@dataclass(frozen=True)
class WorkDone:
    """What one worker did in a search.

    Attributes:
        worker: Which worker it was.
        workers: How many there are.
        ran: The trials that it ran.
        trials: The trials of the whole search, all finished.
        seconds: How long it took, waiting included.
    """

    worker: int
    workers: int
    ran: int
    trials: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types, fit for XCom."""
        return asdict(self)


def make_search(project: Project, manifest: DatasetManifest, train: Rows, device: Device) -> Search:
    """Return the search on the training rows, or on a sample of their customers where the project wants one.

    Raises:
        FoldError: A fold cannot be scored.
        TooFewSnapshotsError: With time, the first fold has nothing to learn from.
        TooFewCustomersError: Without time, a fold would lack churners or customers who stay.
    """
    training = project.training
    rows = sample_customers(train, training.tuning_rows, training.seed)
    folds = bin_folds(rows, row_splits(rows, manifest, training), training.tuning_bins)
    return Search(folds, len(rows), training, device, manifest.fingerprint)


def tune(search: Search, journal: Path, database: SecretStr, workers: int) -> Tuned:
    """Run the trials that are still missing, and return the finished search.

    A search that was cut off goes on from its last finished trial, and ends with the same trials as one that was not.

    Args:
        search: What to run them on.
        journal: The file that keeps the trials where there is no database.
        database: The SQLAlchemy URL of the database that keeps them; empty where there is none.
        workers: Trials run side by side, each with one thread of this process.

    Raises:
        StudyError: The trials cannot be kept.
        DeviceError: The device asked for was not used.
    """
    study = SharedStudy(search.name, journal, database)
    earlier = study.finished()
    work_side_by_side(search, study, workers)
    return Tuned.of(study.finished(), metric=search.training.metric, earlier=earlier, rows=search.rows)


def tune_as_worker(settings: Settings, dataset_folder: Path, worker: int) -> WorkDone:
    """Run trials of the search on a data set as one of several workers, until all trials are finished.

    Raises:
        DatasetError: The data set is damaged.
        ProjectMismatchError: It is of another project than the settings name.
        ConfigurationError: The configuration beside it cannot be read, or is another.
        WorkerError: There is no such worker.
        StudyError: The trials cannot be kept.
        DeviceError: The device asked for was not used.
    """
    started = time.perf_counter()
    workers = settings.training.workers
    if not 0 <= worker < workers:
        raise WorkerError(
            f"There is no worker {worker} among {workers}; they are counted from 0.",
            where="setting CHURN_TRAINING__WORKERS",
            remedy="Give every worker the same number of workers, and each its own number below it.",
        )
    dataset = load_dataset(dataset_folder)
    project = recorded_project(dataset, settings)
    probe_device(settings.training.device)
    train = load_rows(dataset, dataset.manifest.train, model_contract(project, dataset.manifest))
    search = make_search(project, dataset.manifest, train, settings.training.device)
    study = SharedStudy(search.name, dataset_folder / JOURNAL_FILE, settings.training.tuning_storage)
    ran = work(search, study, worker, workers)
    done = WorkDone(worker, workers, ran, len(study.finished()), round(time.perf_counter() - started, 2))
    log.info("worker finished", extra={"work": done.as_dict()})
    return done
