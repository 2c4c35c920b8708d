"""Workers that share a search, as processes, pods, or threads of one process.

A worker takes unclaimed trials of the first batch with unfinished trials, until all trials are finished. When only
trials of other workers are left, it waits for them. If the study does not change for some time, another worker was
probably killed, and the waiting worker runs that worker's trial. If the other worker still runs, both produce the same
trial, so only time is lost.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed

from optuna.trial import FrozenTrial

from include.logs import get_logger
from include.training.tuning.study import SharedStudy
from include.training.tuning.trials import Search, batch_of, end_of_search, run_trial

log = get_logger(__name__)

MIN_PATIENCE_SECONDS = 10.0
_PATIENCE_TRIALS = 5
_POLL_SECONDS = 0.25


def work(
    search: Search,
    study: SharedStudy,
    worker: int,
    workers: int,
    *,
    stop: threading.Event | None = None,
    min_patience: float = MIN_PATIENCE_SECONDS,
) -> int:
    """Run trials until the search ends, and return the number that this worker ran.

    Args:
        search: The inputs of the trials.
        study: Stores the trials.
        worker: The number of this worker, from 0. A restarted worker treats its own old claims as unclaimed.
        workers: Number of workers.
        stop: Stops the worker after its current trial.
        min_patience: Seconds to wait for a change of the study before running another worker's trial; five times the
            longest trial if that is longer.

    Raises:
        StudyError: The study cannot be read or written.
        DeviceError: XGBoost trained on another device than the configured one.
    """
    stop = stop or threading.Event()
    ran, seen, seen_at = 0, None, time.monotonic()
    while not stop.is_set():
        finished, claims = study.finished(), study.claims()
        missing = _missing(search, finished)
        if not missing:
            break
        if seen != (seen := (len(finished), claims)):
            seen_at = time.monotonic()
        free = [number for number in missing if claims.get(number, worker) == worker]
        if not free and time.monotonic() - seen_at < max(min_patience, _PATIENCE_TRIALS * _longest(finished)):
            stop.wait(_POLL_SECONDS)
            continue
        # Workers that start together take different trials first.
        number = min(free or missing, key=lambda number: (number % workers != worker, number))
        study.claim(number, worker)
        trial = run_trial(search, finished, number, worker)
        study.add(trial)
        ran += 1
        _log(trial, number, search)
    return ran


def work_in_threads(search: Search, study: SharedStudy, workers: int) -> None:
    """Run all missing trials with threads of this process as workers.

    Args:
        search: The inputs of the trials.
        study: Stores the trials.
        workers: Number of threads.

    Raises:
        StudyError: The study cannot be read or written.
        DeviceError: XGBoost trained on another device than the configured one.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(workers) as pool:
        working = [pool.submit(work, search, study, worker, workers, stop=stop) for worker in range(workers)]
        try:
            for worker in as_completed(working):
                worker.result()
        finally:
            stop.set()


def _missing(search: Search, finished: Mapping[int, FrozenTrial]) -> list[int]:
    """Return the unfinished trials of the first batch with unfinished trials; empty if the search ends before it."""
    number = 0
    while not end_of_search(search, finished, number):
        batch = batch_of(number, search.training.n_trials)
        if missing := [other for other in batch if other not in finished]:
            return missing
        number = batch.stop
    return []


def _longest(finished: Mapping[int, FrozenTrial]) -> float:
    return max((trial.user_attrs["seconds"] for trial in finished.values()), default=0.0)


def _log(trial: FrozenTrial, number: int, search: Search) -> None:
    log.info(
        "trial finished",
        extra={
            "trial": number + 1,
            "of": search.training.n_trials,
            "state": trial.state.name.lower(),
            search.training.metric: round(float(trial.value or 0), 4),
            "folds": len(trial.intermediate_values),
            "worker": trial.user_attrs["worker"],
            "seconds": trial.user_attrs["seconds"],
        },
    )
