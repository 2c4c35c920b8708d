"""A write with inputs that are replaced while it runs."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest

from include.lake import Lake, LakeError, connect, optimistic_retry, with_optimistic_retry
from include.lake.erasure import delete_rows, forget_history

DAY = dt.date(2024, 3, 1)
INPUT = "silver/payments"


@pytest.fixture
def lake(tmp_path, monkeypatch):
    """A lake with one input table; pauses between attempts take no time."""
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda seconds: None)
    lake = Lake(str(tmp_path))
    put(lake, 0)
    return lake


def put(lake: Lake, value: int) -> None:
    lake.table(INPUT).replace([DAY], pa.table({"dt": [DAY], "value": [value]}))


def value_of(lake: Lake) -> int:
    return int(lake.table(INPUT).read([DAY])["value"][0].as_py())


class DisturbedWrite:
    """A write that reads its input, which a concurrent run then replaces in the first ``times`` attempts."""

    def __init__(self, lake: Lake, times: int) -> None:
        self.lake, self.times, self.attempts = lake, times, 0

    def __call__(self) -> int:
        self.attempts += 1
        value = value_of(self.lake)
        if self.attempts <= self.times:
            put(self.lake, self.attempts)
        return value


# The second case exceeds MAX_ATTEMPTS, but not MAX_SECONDS.
@pytest.mark.parametrize("disturbances", [0, 5])
def test_write_is_repeated_until_its_inputs_are_stable(lake, monkeypatch, disturbances):
    monkeypatch.setattr(optimistic_retry, "MAX_ATTEMPTS", 2)
    write = DisturbedWrite(lake, disturbances)
    assert with_optimistic_retry(lake, {INPUT: [DAY]}, write) == disturbances == value_of(lake)
    assert write.attempts == disturbances + 1


def test_write_fails_if_its_inputs_always_change(lake, monkeypatch):
    monkeypatch.setattr(optimistic_retry, "MAX_ATTEMPTS", 3)
    monkeypatch.setattr(optimistic_retry, "MAX_SECONDS", 0.0)
    with pytest.raises(LakeError, match=r"silver/payments changed during each of 3 attempts.*fewer runs"):
        with_optimistic_retry(lake, {INPUT: [DAY]}, DisturbedWrite(lake, 100))


def test_write_that_fails_because_its_input_was_deleted_is_repeated(lake):
    attempts = []

    def write() -> int:
        rows = lake.table(INPUT).scan(connect(), [DAY])
        attempts.append(rows)
        if len(attempts) == 1:
            delete_rows(lake.table(INPUT), [DAY], {"value": [0]})
            put(lake, 1)
            forget_history(lake.table(INPUT), dt.timedelta())
        return int(rows.to_pyarrow()["value"][0].as_py())

    assert with_optimistic_retry(lake, {INPUT: [DAY]}, write) == 1
    assert len(attempts) == 2


def test_error_of_a_write_with_unchanged_inputs_is_raised_at_once(lake):
    attempts = []

    def write() -> None:
        attempts.append(1)
        raise LakeError("The rows are invalid.", where="here", remedy="Correct them.")

    with pytest.raises(LakeError, match="invalid"):
        with_optimistic_retry(lake, {INPUT: [DAY]}, write)
    assert len(attempts) == 1
