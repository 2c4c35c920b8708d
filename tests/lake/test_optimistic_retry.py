"""A write whose inputs are replaced while it runs."""

from __future__ import annotations

import datetime as dt
import threading
import time

import pyarrow as pa
import pytest

from include.lake import Lake, LakeError, optimistic_retry, with_optimistic_retry

DAY = dt.date(2024, 3, 1)
INPUT = "silver/payments"


def put(lake: Lake, value: int) -> None:
    lake.table(INPUT).replace([DAY], pa.table({"dt": [DAY], "value": [value]}))


def value_of(lake: Lake) -> int:
    return int(lake.table(INPUT).read([DAY])["value"][0].as_py())


def test_a_write_that_nobody_disturbs_happens_once(tmp_path):
    lake, calls = Lake(str(tmp_path)), []
    put(lake, 1)
    assert with_optimistic_retry(lake, {INPUT: [DAY]}, lambda: calls.append(1) or len(calls)) == 1


def test_busy_seconds_are_waited_out_however_many_attempts_they_take(tmp_path, monkeypatch):
    monkeypatch.setattr(optimistic_retry, "ATTEMPTS", 2)
    lake = Lake(str(tmp_path))
    put(lake, 0)
    quiet = threading.Event()

    def keep_busy() -> None:
        end = time.monotonic() + 2
        value = 0
        while time.monotonic() < end:
            value += 1
            put(lake, value)
        quiet.set()

    busy = threading.Thread(target=keep_busy)
    busy.start()

    def write() -> int:
        seen = value_of(lake)
        time.sleep(0.0 if quiet.is_set() else 0.2)
        return seen

    seen = with_optimistic_retry(lake, {INPUT: [DAY]}, write)
    busy.join()
    assert seen == value_of(lake)


def test_a_write_that_never_comes_to_rest_is_an_error_that_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(optimistic_retry, "ATTEMPTS", 3)
    monkeypatch.setattr(optimistic_retry, "PATIENCE_SECONDS", 0.0)
    lake, values = Lake(str(tmp_path)), iter(range(100))
    with pytest.raises(LakeError, match=r"silver/payments changed during each of 3 attempts.*fewer runs"):
        with_optimistic_retry(lake, {INPUT: [DAY]}, lambda: put(lake, next(values)))
