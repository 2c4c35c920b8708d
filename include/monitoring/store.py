"""The results of monitored days: one ``result.json`` each, beside the day's reports."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from pathlib import Path
from typing import Any

from include.errors import ChurnflowError
from include.local_files import write_atomically

KIND = "drift"
RESULT_FILE = "result.json"


class ResultError(ChurnflowError):
    """A monitoring result cannot be read."""


def day_dir(reports_dir: Path, day: dt.date) -> Path:
    """Return the folder of ``day``'s result and reports."""
    return reports_dir / KIND / str(day)


def write_result(reports_dir: Path, day: dt.date, result: dict[str, Any]) -> Path:
    """Write ``day``'s result, replacing an earlier one in one step, and return its path."""
    target = day_dir(reports_dir, day) / RESULT_FILE
    # A NaN would not be JSON.
    write_atomically(target, json.dumps(result, indent=1, allow_nan=False))
    return target


def read_result(path: Path) -> dict[str, Any]:
    """Return the result in ``path``.

    Raises:
        ResultError: The file is not a result.
    """
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if not {"day", "drift", "performance"} <= result.keys():
            raise ValueError("keys are missing")
    except (OSError, ValueError, AttributeError) as error:
        raise ResultError(
            "The file is not a monitoring result.", where=str(path), remedy="Run churn_monitor again for that day."
        ) from error
    return dict(result)


def result_days(reports_dir: Path) -> list[dt.date]:
    """Return the days that have a result, sorted; folders that are not named by a day are somebody else's."""
    days = []
    for path in (reports_dir / KIND).glob(f"*/{RESULT_FILE}"):
        with contextlib.suppress(ValueError):
            days.append(dt.date.fromisoformat(path.parent.name))
    return sorted(days)


def newest_result(reports_dir: Path) -> dict[str, Any] | None:
    """Return the result of the newest monitored day; None when there is none.

    Raises:
        ResultError: That result is damaged.
    """
    days = result_days(reports_dir)
    return read_result(day_dir(reports_dir, days[-1]) / RESULT_FILE) if days else None
