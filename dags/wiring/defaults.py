"""What all DAGs have in common: owner, retries, tags, and the schedule setting."""

from __future__ import annotations

import datetime as dt
from typing import Any

from include.logs import show_details_in_messages
from include.settings import get_settings

START = dt.datetime(2017, 1, 1, tzinfo=dt.UTC)

TASKS: dict[str, Any] = {"owner": "churnflow", "retries": 1, "retry_delay": dt.timedelta(seconds=30)}


def common(*tags: str) -> dict[str, Any]:
    """Return the arguments that every DAG takes; one run at a time, so that a later day finds the earlier one done."""
    from dags.wiring.alerts import alert_failure

    show_details_in_messages()  # Airflow's task log drops what is passed beside a message
    return {
        "start_date": START,
        "catchup": False,
        "max_active_runs": 1,
        "default_args": TASKS | {"on_failure_callback": alert_failure},
        "tags": ["churn", get_settings().project, *tags],
    }


def schedule_note() -> str:
    """Return what the UI says about runs that start by themselves."""
    if get_settings().schedule == "daily":
        return "Runs by itself each midnight UTC, for the day that closed (`CHURN_SCHEDULE=daily`)."
    return "**Nothing runs by itself**: the schedule is off (`CHURN_SCHEDULE=off`). Trigger or backfill it."
