"""Write until what was read is still what is there: the answer to days that are ingested at the same time.

A table of one day may depend on other days of another table, which another run may be replacing right now. Locks would
need a server that a lake in an object store does not have. Delta's log tells instead whether an input changed between
reading and writing; then the writer computes again. Whoever writes last has therefore seen what everybody else wrote.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from include.days import DayRange
from include.lake.table import Lake, LakeError
from include.logs import get_logger

log = get_logger(__name__)

Days = DayRange | Sequence[dt.date]
Result = TypeVar("Result")

ATTEMPTS = 10
"""How often a write is computed again; each time another run must have replaced an input meanwhile."""


def until_settled(lake: Lake, inputs: Mapping[str, Days], write: Callable[[], Result]) -> Result:
    """Call ``write`` until no input changed while it ran, and return its last result.

    Args:
        lake: The lake.
        inputs: The days that are read, by table name; a table need not exist yet.
        write: Reads the inputs and replaces partitions of another table; calling it again must be harmless.

    Raises:
        LakeError: The inputs changed during every attempt.
    """
    before = _fingerprint(lake, inputs)
    for attempt in range(ATTEMPTS):
        result = write()
        after = _fingerprint(lake, inputs)
        if after == before:
            return result
        changed = sorted(name for name in inputs if after[name] != before[name])
        log.info("inputs changed while they were read", extra={"tables": changed, "attempt": attempt + 1})
        before = after
    raise LakeError(
        f"{', '.join(sorted(inputs))} changed during each of {ATTEMPTS} attempts to read them.",
        where=lake.uri,
        remedy="Run the days again when fewer runs write at the same time.",
    )


def _fingerprint(lake: Lake, inputs: Mapping[str, Days]) -> dict[str, frozenset[str]]:
    return {name: lake.table(name).files(days) for name, days in inputs.items()}
