"""Workers as threads and as killed processes: the trials equal those of a single worker."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
from pydantic import SecretStr

from include.training.tuning.study import SharedStudy
from include.training.tuning.trials import BATCH_SIZE
from include.training.tuning.tune import TuningResult, tune
from include.training.tuning.workers import work
from local.postgres import database_url
from tests.postgres import running_postgres
from tests.training.searches import drawn_search, reproducible_history, work_in_process

TRIALS = 2 * BATCH_SIZE + 2


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> TuningResult:
    """The search by one worker without interruption."""
    search = drawn_search(TRIALS, trees=60)
    return tune(search, SharedStudy(search.name, tmp_path_factory.mktemp("alone") / "journal", SecretStr("")), 1)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with running_postgres() as host:
        yield database_url(host, "postgres")


def test_worker_takes_over_the_trial_of_an_inactive_worker(tmp_path: Path) -> None:
    search = drawn_search(3, trees=5)
    study = SharedStudy(search.name, tmp_path / "journal", SecretStr(""))
    study.claim(1, worker=1)
    started = time.monotonic()
    assert work(search, study, 0, 2, min_patience=0.5) == 3
    assert time.monotonic() - started > 0.5
    assert study.claims() == {0: 0, 1: 0, 2: 0}


def test_restarted_worker_ignores_its_own_claims(tmp_path: Path) -> None:
    search = drawn_search(3, trees=5)
    study = SharedStudy(search.name, tmp_path / "journal", SecretStr(""))
    for number in range(3):
        study.claim(number, worker=1)
    assert work(search, study, 1, 2, min_patience=600) == 3
    assert work(search, study, 1, 2) == 0


def start(journal: Path, database: str, worker: int, hang_after: int | None = None) -> tuple[BaseProcess, Event]:
    """Start a worker process; with ``hang_after``, it finishes this many trials and hangs in the next trial."""
    context = get_context("forkserver")
    context.set_forkserver_preload([work_in_process.__module__])  # imports take longer than the trials
    hanging = context.Event()
    process = context.Process(target=work_in_process, args=(TRIALS, journal, database, worker, 2, hang_after, hanging))
    process.start()
    return process, hanging


def kill_in_a_trial(process: BaseProcess, hanging: Event) -> None:
    assert hanging.wait(120)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["journal", "database"])
def test_killed_worker_loses_only_its_current_trial(
    storage: str, alone: TuningResult, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("database") if storage == "database" else ""
    search, journal = drawn_search(TRIALS, trees=60), tmp_path / "journal"
    kill_in_a_trial(*start(journal, url, worker=1, hang_after=1))
    other, _ = start(journal, url, worker=0)
    other.join(240)
    assert other.exitcode == 0
    tuned = tune(search, SharedStudy(search.name, journal, SecretStr(url)), 1)
    assert tuned.resumed == TRIALS
    assert reproducible_history(tuned) == reproducible_history(alone)
    assert tuned.chosen == alone.chosen
    assert journal.exists() == (storage == "journal")


@pytest.mark.slow
def test_search_continues_after_all_workers_were_killed(alone: TuningResult, tmp_path: Path) -> None:
    search, journal = drawn_search(TRIALS, trees=60), tmp_path / "journal"
    workers = [start(journal, "", worker, hang_after=1) for worker in range(2)]
    for worker in workers:
        kill_in_a_trial(*worker)
    tuned = tune(search, SharedStudy(search.name, journal, SecretStr("")), 3)
    assert tuned.resumed == 2
    assert reproducible_history(tuned) == reproducible_history(alone)
