"""The deadline of the retention list: a message if the list of a day is missing at this time.

Airflow's scheduler computes the deadline when it creates a run, and finds missed deadlines. The executor runs the
callback. A deadline belongs to a run, so a day without a run has none; the rule ``RetentionListLate`` of Prometheus
covers it (docs/decisions/0031-losses-and-deadlines.md).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert


@dataclass
class ListDue(BaseDeadlineReference):
    """The time at which the retention list of a run's day is due.

    A run that is created later has no deadline, for example the run of a backfill.

    Attributes:
        list_by: The time of day.
        timezone: The time zone of the project.
    """

    # Airflow creates an instance without arguments when it registers the class.
    list_by: str = ""
    timezone: str = ""

    required_kwargs = frozenset({"dag_id", "run_id"})

    def serialize_reference(self) -> dict[str, Any]:
        """Return the reference as plain JSON types."""
        return super().serialize_reference() | {"list_by": self.list_by, "timezone": self.timezone}

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> ListDue:
        """Return the reference that was serialized.

        Args:
            reference_data: The result of ``serialize_reference``.
        """
        return cls(reference_data["list_by"], reference_data["timezone"])

    def _evaluate_with(self, *, session: Any, dag_id: str, run_id: str) -> dt.datetime | None:
        import sqlalchemy as sa
        from airflow.models import DagRun

        from include.days import parse_day
        from include.retention.due import list_due

        key = session.scalar(sa.select(DagRun.partition_key).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))
        if key is None:
            return None
        due = list_due(parse_day(key[:10]), dt.time.fromisoformat(self.list_by), self.timezone)
        return due if due > dt.datetime.now(dt.UTC) else None


def list_deadline(table: str) -> dict[str, Any]:
    """Return the argument ``deadline`` of a DAG; none without a daily schedule.

    Args:
        table: The table that the DAG writes.
    """
    from dags.wiring.defaults import project_timezone
    from include.settings import get_settings

    settings = get_settings()
    if settings.schedule != "daily":
        return {}
    reference = ListDue(settings.tasks.list_by.isoformat("minutes"), project_timezone())
    callback = SyncCallback(alert_late_list, kwargs={"table": table})
    return {"deadline": DeadlineAlert(reference, dt.timedelta(0), callback, name="retention list")}


def alert_late_list(context: Any, table: str) -> None:
    """Send the message about a run that did not write its day in time; at most one for each day.

    If the table contains the day, only the rest of the run is late, which delays no list.

    Args:
        context: The run and its deadline.
        table: The table that the run writes.
    """
    from urllib.parse import quote

    from dags.wiring.alerts import message_addresses
    from dags.wiring.slack import destination
    from include.days import parse_day
    from include.lake import open_lake
    from include.monitoring.alerts import Message
    from include.monitoring.messages import send_run_failure
    from include.settings import get_settings

    settings, addresses, run = get_settings(), message_addresses(), context["dag_run"]
    day = parse_day(run["partition_key"][:10])
    if day in open_lake(settings).table(table).days():
        return
    dag_id, run_id = run["dag_id"], run["dag_run_id"]
    message = Message(
        f"{settings.project}: no retention list of {day} by {settings.tasks.list_by:%H:%M}",
        (f"{dag_id} has not written {table} of this day. The state of its run is {run['state']}.",),
        (("Run", f"{addresses.airflow}/dags/{dag_id}/runs/{quote(run_id, safe='')}"),),
    )
    send_run_failure(settings, lambda: destination(settings.alerts), addresses, day, f"late_list/{day}", message)
