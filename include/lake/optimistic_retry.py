"""Write until what was read is still what is there: the answer to days that are ingested at the same time.

A table of one day may depend on other days of another table, which another run may be replacing right now. Locks would
need a server that a lake in an object store does not have. Delta's log tells instead whether an input changed between
reading and writing; then the writer computes again. Whoever writes last has therefore seen what everybody else wrote.
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
from include.lake.table import Lake, LakeError
from include.logs import get_logger

log = get_logger(__name__)

Days = DayRange | Sequence[dt.date]
Result = TypeVar("Result")

ATTEMPTS = 10
PATIENCE_SECONDS = 300.0
"""A write gives up after so many attempts and so many seconds, whichever comes last.

Other runs replace finitely many days, so that a pause between attempts always ends in a quiet moment; attempts without
one can all fall into the same busy seconds.
"""


def with_optimistic_retry(lake: Lake, inputs: Mapping[str, Days], write: Callable[[], Result]) -> Result:
    """Call ``write`` until no input changed while it ran, and return its last result.

    Args:
        lake: The lake.
        inputs: The days that are read, by table name; a table need not exist yet.
        write: Reads the inputs and replaces partitions of another table; calling it again must be harmless.

    Raises:
        LakeError: The inputs changed during every attempt.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(TryAgain),
        # Random, so that runs which disturb each other do not go on in step.
        wait=wait_random_exponential(multiplier=0.1, max=10),
        stop=stop_all(stop_after_attempt(ATTEMPTS), stop_after_delay(PATIENCE_SECONDS)),
    )
    try:
        result: Result = retrying(_write_once, lake, inputs, write)
    except RetryError as error:
        raise LakeError(
            f"{', '.join(sorted(inputs))} changed during each of {error.last_attempt.attempt_number} attempts to read"
            " them.",
            where=lake.uri,
            remedy="Run the days again when fewer runs write at the same time.",
        ) from error
    return result


def _write_once(lake: Lake, inputs: Mapping[str, Days], write: Callable[[], Result]) -> Result:
    before = _fingerprint(lake, inputs)
    result = write()
    after = _fingerprint(lake, inputs)
    changed = sorted(name for name in inputs if after[name] != before[name])
    if changed:
        log.info("inputs changed while they were read", extra={"tables": changed})
        raise TryAgain
    return result


def _fingerprint(lake: Lake, inputs: Mapping[str, Days]) -> dict[str, frozenset[str]]:
    return {name: lake.table(name).files(days) for name, days in inputs.items()}
