"""How a training hands its result over: through one file on the storage that both sides see.

A pod can end without its result reaching the scheduler, so a missing file is a failure, and a file left by an earlier
training is removed before the next one starts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from include.errors import ChurnflowError
from include.local_files import write_atomically


class MissingResultError(ChurnflowError):
    """A training ended without handing its result over."""


def clear_result(path: Path) -> None:
    """Remove what an earlier training left at ``path``."""
    path.unlink(missing_ok=True)


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write ``result`` to ``path``, wholly or not at all."""
    write_atomically(path, json.dumps(result) + "\n")


def read_result(path: Path) -> dict[str, Any]:
    """Return the result at ``path``.

    Raises:
        MissingResultError: There is none.
    """
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise MissingResultError(
            "The training ended without a result.",
            where=str(path),
            remedy="Read the log of the training task, then run it again.",
        ) from error
    return result
