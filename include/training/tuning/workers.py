"""Workers that share a search, as processes or pods of their own or as threads of one process.

A worker takes a slot that nobody has claimed, of the first generation that has unfinished slots, and goes on until
there is none. When only slots of others are left it waits for them; one that nothing is heard of for long enough, since
its worker was killed, it does itself. Two workers on one slot make the same trial, so that no error of judgement can
change the result.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed

from optuna.trial import FrozenTrial

from include.logs import get_logger
from include.training.tuning.study import SharedStudy
from include.training.tuning.trials import Search, generation_of, run_trial

log = get_logger(__name__)

LEAST_PATIENCE_SECONDS = 10.0
_PATIENCE_TRIALS = 5
_POLL_SECONDS = 0.25


def work(
    search: Search,
    study: SharedStudy,
    worker: int,
    workers: int,
    *,
    stop: threading.Event | None = None,
    least_patience: float = LEAST_PATIENCE_SECONDS,
) -> int:
    """Run trials until all of the search are finished, and return how many this worker ran.

    Args:
        search: What to run them on.
        study: Where they are kept.
        worker: Which worker this is, from 0. What it claimed before it was killed and started again counts as free.
        workers: How many there are.
        stop: Ends the work after the trial at hand.
        least_patience: For how many seconds, at least, to wait for a sign of others. It is more where trials are long.

    Raises:
        StudyError: The study cannot be read or written.
        DeviceError: The device asked for was not used.
    """
    stop = stop or threading.Event()
    ran, heard, heard_at = 0, None, time.monotonic()
    while not stop.is_set():
        finished, claims = study.finished(), study.claims()
        missing = _missing(finished, search.training.n_trials)
        if not missing:
            break
        if heard != (heard := (len(finished), claims)):
            heard_at = time.monotonic()
        free = [slot for slot in missing if claims.get(slot, worker) == worker]
        if not free and time.monotonic() - heard_at < max(least_patience, _PATIENCE_TRIALS * _longest(finished)):
            stop.wait(_POLL_SECONDS)
            continue
        # Workers that start together begin with different slots.
        slot = min(free or missing, key=lambda slot: (slot % workers != worker, slot))
        study.claim(slot, worker)
        trial = run_trial(search, finished, slot, worker)
        study.add(trial)
        ran += 1
        _log(trial, slot, search)
    return ran


def work_side_by_side(search: Search, study: SharedStudy, workers: int) -> None:
    """Run all trials that are missing with the threads of this process as workers.

    Raises:
        StudyError: The study cannot be read or written.
        DeviceError: The device asked for was not used.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(workers) as pool:
        working = [pool.submit(work, search, study, worker, workers, stop=stop) for worker in range(workers)]
        try:
            for worker in as_completed(working):
                worker.result()
        finally:
            stop.set()


def _missing(finished: Mapping[int, FrozenTrial], n_trials: int) -> list[int]:
    """Return the unfinished slots of the first generation that has any."""
    first = next((slot for slot in range(n_trials) if slot not in finished), None)
    return [] if first is None else [slot for slot in generation_of(first, n_trials) if slot not in finished]


def _longest(finished: Mapping[int, FrozenTrial]) -> float:
    return max((trial.user_attrs["seconds"] for trial in finished.values()), default=0.0)


def _log(trial: FrozenTrial, slot: int, search: Search) -> None:
    log.info(
        "trial finished",
        extra={
            "trial": slot + 1,
            "of": search.training.n_trials,
            "state": trial.state.name.lower(),
            search.training.metric: round(float(trial.value or 0), 4),
            "folds": len(trial.intermediate_values),
            "worker": trial.user_attrs["worker"],
            "seconds": trial.user_attrs["seconds"],
        },
    )
