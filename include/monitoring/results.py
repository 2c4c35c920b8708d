"""Files of the reports' folder: the result and the summary of each monitored day, and the list of HTML reports."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.errors import ChurnflowError
from include.local_files import write_atomically
from include.monitoring.summary import SUMMARY_FILE, summarise
from include.settings import require_project

KIND = "drift"
RESULT_FILE = "result.json"
_PAGES = {"quality": "*.html", "drift": "index.html", "model": "*.html"}


@dataclass(frozen=True)
class Report:
    """One HTML report.

    Attributes:
        kind: ``quality``, ``drift`` or ``model``.
        day: The day or model version of the report, which is the name of its folder.
        path: The path relative to the reports' folder.
    """

    kind: str
    day: str
    path: str


class ResultError(ChurnflowError):
    """A monitoring result cannot be read."""


def day_dir(reports_dir: Path, day: dt.date) -> Path:
    """Return the folder of a day's result and reports.

    Args:
        reports_dir: The project's folder of reports.
        day: The monitored day.
    """
    return reports_dir / KIND / str(day)


def write_result(reports_dir: Path, day: dt.date, result: dict[str, Any]) -> Path:
    """Write a day's result and its summary, replacing earlier ones atomically, and return the path of the result.

    The summary is written first, so that every result has one.

    Args:
        reports_dir: The reports' folder.
        day: The monitored day.
        result: The result; see ``monitor_day``.
    """
    folder = day_dir(reports_dir, day)
    # NaN is not valid JSON, so it raises an error here, before a file is replaced.
    content = json.dumps(result, indent=1, allow_nan=False)
    write_atomically(folder / SUMMARY_FILE, summarise(result).model_dump_json())
    target = folder / RESULT_FILE
    write_atomically(target, content)
    return target


def read_result(reports_dir: Path, day: dt.date) -> dict[str, Any]:
    """Return the result of a day.

    Args:
        reports_dir: The project's folder of reports, with the project's name.
        day: The monitored day.

    Raises:
        ProjectMismatchError: The result is of another project.
        ResultError: The file is missing, or is not a result.
    """
    path = day_dir(reports_dir, day) / RESULT_FILE
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        if not {"project", "day", "drift", "performance"} <= result.keys():
            raise ValueError("keys are missing")
    except (OSError, ValueError, AttributeError) as error:
        raise ResultError(
            "The file is not a monitoring result.",
            where=str(path),
            remedy="Remove the file, then run churn_monitor again for that day.",
        ) from error
    require_project(result["project"], reports_dir.name, what="The monitoring result", where=path)
    return dict(result)


def result_days(reports_dir: Path) -> list[dt.date]:
    """Return the days that have a result, sorted. Folders without a day as their name are ignored."""
    days = []
    for path in (reports_dir / KIND).glob(f"*/{RESULT_FILE}"):
        with contextlib.suppress(ValueError):
            days.append(dt.date.fromisoformat(path.parent.name))
    return sorted(days)


def newest_result(reports_dir: Path) -> dict[str, Any] | None:
    """Return the result of the newest monitored day; None if there is none.

    Raises:
        ProjectMismatchError: The result is of another project.
        ResultError: The result is damaged.
    """
    days = result_days(reports_dir)
    return read_result(reports_dir, days[-1]) if days else None


def list_reports(reports_dir: Path) -> list[Report]:
    """Return the HTML reports below ``reports_dir``, newest day first."""
    found = [
        Report(kind, path.relative_to(reports_dir).parts[1], str(path.relative_to(reports_dir)))
        for kind, pattern in _PAGES.items()
        for path in (reports_dir / kind).glob(f"*/{pattern}")
    ]
    return sorted(found, key=lambda report: (report.day, report.kind, report.path), reverse=True)
