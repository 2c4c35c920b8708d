"""Optimistic retry: repeat a write until its inputs have not changed while it ran.

One day of a table can depend on days of another table that a concurrent run replaces. Locks would require a server,
which a lake in an object store does not have. Instead, Delta's log shows whether an input changed between reading and
writing; in this case the writer repeats the computation. The last writer has read every earlier write.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from tenacity import (
    RetryError,
    Retrying,
    TryAgain,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    stop_all,
    wait_random_exponential,
)

from include.days import DayRange
from include.lake.table import ConflictError, Lake
from include.logs import get_logger

log = get_logger(__name__)

Days = DayRange | Sequence[dt.date]
Result = TypeVar("Result")

MAX_ATTEMPTS = 10
MAX_SECONDS = 300.0
"""A write fails after ``MAX_ATTEMPTS`` attempts and ``MAX_SECONDS`` seconds, whichever is later.

Concurrent runs replace a finite number of days, so an attempt after a long enough pause succeeds. Attempts in quick
succession can all fail because of one concurrent run.
"""


def with_optimistic_retry(lake: Lake, inputs: Mapping[str, Days], write: Callable[[], Result]) -> Result:
    """Call ``write`` until its inputs have not changed during the call, and return its last result.

    Args:
        lake: The lake.
        inputs: The days that ``write`` reads, by table name; a table need not exist.
        write: A function that reads the inputs and replaces partitions of another table. It must be idempotent.

    Raises:
        ConflictError: The inputs changed during every attempt.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(TryAgain),
        # Random waits separate runs that repeatedly change each other's inputs.
        wait=wait_random_exponential(multiplier=0.1, max=10),
        stop=stop_all(stop_after_attempt(MAX_ATTEMPTS), stop_after_delay(MAX_SECONDS)),
    )
    try:
        result: Result = retrying(_write_once, lake, inputs, write)
    except RetryError as error:
        raise ConflictError(
            f"{', '.join(sorted(inputs))} changed during each of {error.last_attempt.attempt_number} attempts to read"
            " these tables.",
            where=lake.uri,
            remedy="Run the days again when fewer runs write at the same time.",
        ) from error
    return result


def _write_once(lake: Lake, inputs: Mapping[str, Days], write: Callable[[], Result]) -> Result:
    before = _fingerprint(lake, inputs)
    try:
        result = write()
    except Exception as error:
        # An erasure deletes the files of earlier versions, which this attempt may have been about to read.
        if _changed(lake, inputs, before):
            raise TryAgain from error
        raise
    if _changed(lake, inputs, before):
        raise TryAgain
    return result


def _changed(lake: Lake, inputs: Mapping[str, Days], before: Mapping[str, frozenset[str]]) -> bool:
    after = _fingerprint(lake, inputs)
    changed = sorted(name for name in inputs if after[name] != before[name])
    if changed:
        log.info("inputs changed during a write", extra={"tables": changed})
    return bool(changed)


def _fingerprint(lake: Lake, inputs: Mapping[str, Days]) -> dict[str, frozenset[str]]:
    return {name: lake.table(name).files(days) for name, days in inputs.items()}
