"""Common arguments of all DAGs: owner, retries, tags, messages about failed runs, and the schedule setting."""

from __future__ import annotations

import datetime as dt
from typing import Any

from dags.wiring.retries import RetryIfUseful
from include import lineage
from include.logs import show_details_in_messages
from include.settings import get_settings

START = dt.datetime(2017, 1, 1, tzinfo=dt.UTC)

TASKS: dict[str, Any] = {
    "owner": "churnflow",
    "retries": 1,
    "retry_delay": dt.timedelta(seconds=30),
    "retry_policy": RetryIfUseful(),
}


def record_lineage(_context: Any) -> None:
    """Start the record of the datasets that a task reads and writes; Airflow calls it before each task."""
    lineage.start()


def common(*tags: str) -> dict[str, Any]:
    """Return the common arguments of a DAG; it has one active run, so that the days are processed in order."""
    from dags.wiring.alerts import alert_failed_run, record_error

    settings = get_settings()
    show_details_in_messages()  # Airflow's task log drops the ``extra`` of a record
    return {
        "start_date": START,
        "catchup": False,
        "max_active_runs": 1,
        "default_args": TASKS
        | {
            "execution_timeout": settings.tasks.timeout,
            "on_execute_callback": record_lineage,
            "on_failure_callback": record_error,
        },
        "on_failure_callback": alert_failed_run,
        "tags": ["churn", settings.project, *tags],
    }


def project_timezone() -> str:
    """Return the time zone of the project's days; UTC if the project is invalid, which its tasks report."""
    from include.projects import load_project
    from include.projects.loader import ProjectError

    try:
        return load_project(get_settings().project).timezone
    except ProjectError:
        return "UTC"


def schedule_note() -> str:
    """Return the text of the UI about scheduled runs."""
    if get_settings().schedule == "daily":
        return f"Runs each midnight ({project_timezone()}), for the previous day (`CHURN_SCHEDULE=daily`)."
    return "**No scheduled runs** (`CHURN_SCHEDULE=off`): trigger or backfill the DAG."
