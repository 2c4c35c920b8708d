"""The record of a run of all tests, which is evidence for the code that was tested only."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from pathlib import Path

from include.drills import TESTS, DrillRecord, write_drill

_FOLDERS = ("include", "dags", "plugins")


def code_checksum(root: Path) -> str:
    """Return the checksum of the Python files of the product, which is the same in a checkout and in an image.

    Args:
        root: The folder of the repository.
    """
    total = hashlib.sha256()
    for path in sorted(path for folder in _FOLDERS for path in (root / folder).rglob("*.py")):
        total.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return total.hexdigest()[:16]


def record_tests(home: Path, code: str, ended: dt.datetime, counts: Mapping[str, int], seconds: float) -> Path:
    """Record a run of all tests, and return the path of the record.

    Args:
        home: The folder of the deployment's local files.
        code: The checksum of the tested code.
        ended: The time at which the run ended.
        counts: The number of tests by outcome: ``passed``, ``failed`` and ``skipped``.
        seconds: The duration.
    """
    figures = {name: counts[name] for name in ("passed", "failed", "skipped")}
    passed = not counts["failed"] and counts["passed"] > 0
    record = DrillRecord(
        drill=TESTS,
        carried_out=ended,
        passed=passed,
        figures={**figures, "seconds": round(seconds), "code": code},
    )
    return write_drill(home, record)
