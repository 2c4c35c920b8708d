"""Several processes on one store, some of which are killed."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
import time

import pytest

from include.serving.online_store.base import open_store
from include.settings import ROOT, Settings
from tests.serving.online_store.conftest import Ask, Asked, day
from tests.serving.online_store.writer import argument, row_of, rows_of_day

pytestmark = pytest.mark.slow

CUSTOMERS = 60_000
SAMPLE = [f"c{i}" for i in range(0, CUSTOMERS, 997)]


def start_writing(settings: Settings, of: dt.date, customers: int = CUSTOMERS) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.serving.online_store.writer", argument(settings), str(of), str(customers)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def wait_until_it_writes(writer: subprocess.Popen[str]) -> None:
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writing\n"


def days_in(store: Asked) -> set[dt.date]:
    """Return the days of the sampled customers; every row is whole."""
    found = [store.get(customer) for customer in SAMPLE]
    assert all(row is not None and row == row_of(row.day) for row in found)
    return {row.day for row in found if row is not None}


def test_days_written_at_the_same_time_leave_the_newest(settings: Settings, asked: Ask) -> None:
    sizes = {day(0): 2_000, day(1): 1_000}
    writers = [start_writing(settings, of, customers) for of, customers in sizes.items()]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    store = asked(open_store(settings))
    for customer, newest in ((0, day(1)), (999, day(1)), (1_000, day(0)), (1_999, day(0))):
        assert store.get(f"c{customer}") == row_of(newest)
    assert store.get("c2000") is None


@pytest.mark.parametrize("settings", ["embedded"], indirect=True)
def test_readers_see_the_old_day_until_the_new_one_is_whole(settings: Settings, asked: Ask) -> None:
    store = asked(open_store(settings))
    store.store.put_day(day(0), rows_of_day(day(0), CUSTOMERS))
    writer = start_writing(settings, day(1))
    seen, last = [], SAMPLE[-1]
    while not seen or seen[-1] != day(1):
        assert writer.poll() in (None, 0)
        first, at_last = store.get(SAMPLE[0]), store.get(last)
        assert first is not None
        assert at_last is not None
        # Looked at later, the last customer must be of the same day or of the new one.
        assert at_last.day >= first.day
        seen.append(first.day)
    assert writer.wait(60) == 0
    assert seen == sorted(seen)
    assert seen[0] == day(0)
    assert days_in(store) == {day(1)}


@pytest.mark.parametrize("settings", ["embedded"], indirect=True)
def test_writer_that_is_killed_leaves_the_old_day_whole(settings: Settings, asked: Ask) -> None:
    store = asked(open_store(settings))
    began = time.monotonic()
    store.store.put_day(day(0), rows_of_day(day(0), CUSTOMERS))
    whole = time.monotonic() - began
    left = []
    for attempt, share in enumerate((0.0, 0.3, 0.6), start=1):
        writer = start_writing(settings, day(attempt))
        wait_until_it_writes(writer)
        time.sleep(share * whole)  # a random moment is what a kill comes at
        writer.kill()
        writer.wait(20)
        left.append(days_in(store))
    assert all(len(days) == 1 for days in left), "all of a day or nothing of it"
    assert left[0] == {day(0)}
    store.store.put_day(day(9), rows_of_day(day(9), CUSTOMERS))
    assert days_in(store) == {day(9)}


@pytest.mark.parametrize("settings", ["redis"], indirect=True)
def test_killed_write_to_redis_leaves_whole_rows_and_is_completed_by_the_next(settings: Settings, asked: Ask) -> None:
    store = asked(open_store(settings))
    store.store.put_day(day(0), rows_of_day(day(0), CUSTOMERS))
    writer = start_writing(settings, day(1))
    first = min(SAMPLE)  # days are written by rising customer id
    while (row := store.get(first)) is None or row.day != day(1):
        assert writer.poll() is None
    writer.kill()
    writer.wait(20)
    assert days_in(store) <= {day(0), day(1)}
    store.store.put_day(day(1), rows_of_day(day(1), CUSTOMERS))
    assert days_in(store) == {day(1)}
