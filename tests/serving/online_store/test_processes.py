"""Several processes on one store, some of which are killed while they write."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from include.serving.online_store import open_store
from include.settings import ROOT, Settings
from tests.serving.online_store.conftest import MakeSync, SyncStore, day
from tests.serving.online_store.writer import argument, row_of, rows_of_day

pytestmark = pytest.mark.slow

CUSTOMERS = 60_000
SLICES = 3
SAMPLE = sorted(f"c{i}" for i in range(0, CUSTOMERS, 997))  # a day is written by rising customer id
TIMEOUT_SECONDS = 300


@contextmanager
def writing(
    settings: Settings, of: dt.date, customers: int = CUSTOMERS, stepwise: bool = False
) -> Iterator[subprocess.Popen[str]]:
    """Run a process that writes a day; a stepwise process waits for a line on its input before each slice."""
    command = [sys.executable, "-m", "tests.serving.online_store.writer", argument(settings), str(of), str(customers)]
    command += ["stepwise"] if stepwise else []
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_slice(writer: subprocess.Popen[str]) -> None:
    assert writer.stdout is not None
    assert writer.stdout.readline() == "slice\n"


def write_slice(writer: subprocess.Popen[str]) -> None:
    assert writer.stdin is not None
    writer.stdin.write("\n")
    writer.stdin.flush()


def days_in(store: SyncStore) -> set[dt.date]:
    """Return the days of the sampled customers' rows, and check that each row is complete."""
    found = [store.get(customer) for customer in SAMPLE]
    assert all(row is not None and row == row_of(row.day) for row in found)
    return {row.day for row in found if row is not None}


def test_days_written_concurrently_leave_the_newest_rows(settings: Settings, make_sync: MakeSync) -> None:
    with writing(settings, day(0), 2_000) as first, writing(settings, day(1), 1_000) as second:
        assert [writer.wait(TIMEOUT_SECONDS) for writer in (first, second)] == [0, 0]
    store = make_sync(open_store(settings))
    for customer, newest in ((0, day(1)), (999, day(1)), (1_000, day(0)), (1_999, day(0))):
        assert store.get(f"c{customer}") == row_of(newest)
    assert store.get("c2000") is None


@pytest.mark.parametrize("settings", ["embedded"], indirect=True)
def test_readers_see_the_old_day_until_the_new_day_is_complete(settings: Settings, make_sync: MakeSync) -> None:
    store = make_sync(open_store(settings))
    store.backend.put_day(day(0), rows_of_day(day(0), CUSTOMERS))
    with writing(settings, day(1), stepwise=True) as writer:
        for _ in range(SLICES):
            wait_for_slice(writer)
            assert days_in(store) == {day(0)}
            write_slice(writer)
        while writer.poll() is None:
            first, last = store.get(SAMPLE[0]), store.get(SAMPLE[-1])
            assert first is not None
            assert last is not None
            assert last.day >= first.day, "the last customer, who is read later, has the same day or the new one"
        assert writer.returncode == 0
    assert days_in(store) == {day(1)}


@pytest.mark.parametrize("settings", ["embedded"], indirect=True)
def test_killed_writer_leaves_the_old_day_complete(settings: Settings, make_sync: MakeSync) -> None:
    store = make_sync(open_store(settings))
    store.backend.put_day(day(0), rows_of_day(day(0), CUSTOMERS))
    for written in range(SLICES):
        with writing(settings, day(1), stepwise=True) as writer:
            wait_for_slice(writer)
            for _ in range(written):
                write_slice(writer)
                wait_for_slice(writer)
            writer.kill()
        assert days_in(store) == {day(0)}
    store.backend.put_day(day(2), rows_of_day(day(2), CUSTOMERS))
    assert days_in(store) == {day(2)}


@pytest.mark.parametrize("settings", ["redis"], indirect=True)
def test_killed_write_to_redis_leaves_complete_rows_and_can_be_repeated(
    settings: Settings, make_sync: MakeSync
) -> None:
    store = make_sync(open_store(settings))
    store.backend.put_day(day(0), rows_of_day(day(0), CUSTOMERS))
    with writing(settings, day(1), stepwise=True) as writer:
        wait_for_slice(writer)
        write_slice(writer)
        wait_for_slice(writer)
        writer.kill()
    assert days_in(store) == {day(0), day(1)}
    store.backend.put_day(day(1), rows_of_day(day(1), CUSTOMERS))
    assert days_in(store) == {day(1)}
