"""Workers as threads and as processes that are killed: the trials are those that one worker alone makes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from pydantic import SecretStr

from include.training.tuning.study import SharedStudy
from include.training.tuning.trials import BATCH_SIZE
from include.training.tuning.tune import TuningResult, tune
from include.training.tuning.workers import work
from local.postgres import database_url
from tests.postgres import running_postgres
from tests.training.searches import drawn_search, what_was_tried, work_in_process

TRIALS = 2 * BATCH_SIZE + 2


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> TuningResult:
    """The search by one worker that nothing happens to."""
    return tune(drawn_search(TRIALS, trees=60), tmp_path_factory.mktemp("alone") / "journal", SecretStr(""), 1)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with running_postgres() as host:
        yield database_url(host, "postgres")


def test_worker_takes_over_from_a_silent_worker(tmp_path: Path) -> None:
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


def start(journal: Path, database: str, worker: int) -> BaseProcess:
    context = get_context("forkserver")
    context.set_forkserver_preload([work_in_process.__module__])  # imports take longer than the trials
    process = context.Process(target=work_in_process, args=(TRIALS, journal, database, worker, 2))
    process.start()
    return process


def kill_in_a_trial(process: BaseProcess, study: SharedStudy, worker: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if {number for number, owner in study.claims().items() if owner == worker} - set(study.finished()):
            break
        time.sleep(0.01)
    time.sleep(0.1)  # it has let go of the journal by now, which others would otherwise wait half a minute for
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
    workers = [start(journal, url, worker) for worker in range(2)]
    study = SharedStudy(search.name, journal, SecretStr(url))
    kill_in_a_trial(workers[1], study, worker=1)
    workers[0].join(120)
    assert workers[0].exitcode == 0
    tuned = tune(search, journal, SecretStr(url), 1)
    assert tuned.resumed == TRIALS
    assert what_was_tried(tuned) == what_was_tried(alone)
    assert tuned.chosen == alone.chosen
    assert journal.exists() == (storage == "journal")


@pytest.mark.slow
def test_search_continues_after_all_workers_were_killed(alone: TuningResult, tmp_path: Path) -> None:
    search, journal = drawn_search(TRIALS, trees=60), tmp_path / "journal"
    workers = [start(journal, "", worker) for worker in range(2)]
    study = SharedStudy(search.name, journal, SecretStr(""))
    for worker in (1, 0):
        kill_in_a_trial(workers[worker], study, worker)
    kept = len(study.finished())
    tuned = tune(search, journal, SecretStr(""), 3)
    assert tuned.resumed == kept < TRIALS
    assert what_was_tried(tuned) == what_was_tried(alone)
