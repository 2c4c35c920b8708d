"""The monitored days of the past, read from their summaries."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from include.monitoring.results import ResultError, day_dir, result_days
from include.monitoring.summary import SUMMARY_FILE, DaySummary
from include.settings import require_project


def read_history(reports_dir: Path, days: int = 366) -> list[DaySummary]:
    """Return the summaries of the newest monitored days, sorted by day.

    A day that an earlier release monitored has no summary, and is left out.

    Args:
        reports_dir: The project's folder of reports, with the project's name.
        days: The largest number of monitored days.

    Raises:
        ProjectMismatchError: A summary is of another project.
        ResultError: A summary is damaged.
    """
    history = []
    for day in result_days(reports_dir)[-days:]:
        path = day_dir(reports_dir, day) / SUMMARY_FILE
        if not path.exists():
            continue
        try:
            summary = DaySummary.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise ResultError(
                "The file is not the summary of a monitored day.",
                where=str(path),
                remedy="Run churn_monitor again for that day.",
            ) from error
        require_project(summary.project, reports_dir.name, what="The summary of a monitored day", where=path)
        history.append(summary)
    return history
