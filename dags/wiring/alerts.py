"""Alerts: to the log and, if its connection exists, to Slack.

A failed run sends one alert. Airflow's DAG processor sends it when the run has ended, so that the alert does not depend
on the process of a task, which may have been killed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from include.monitoring.alerts import Message

log = logging.getLogger(__name__)

ERROR = "error"
"""The key of the XCom that contains the text of a task's error."""


def deliver(message: Message) -> Literal["slack", "log"]:
    """Log the message in one line, then send it through the configured Slack connection if that connection exists.

    Returns:
        The destination.

    Raises:
        AirflowException: Slack rejected the message.
        OSError: Slack did not answer.
    """
    from include.settings import get_settings

    conn_id = get_settings().alerts.slack_conn_id
    log.warning("Alert: %s", message.text)
    if not _connection_exists(conn_id):
        log.info("There is no connection %r, so the alert is only in this log.", conn_id)
        return "log"
    from dags.wiring.slack import send

    send(message, conn_id)
    log.info("Alert sent through connection %r: %s", conn_id, message.title)
    return "slack"


def record_error(context: Any) -> None:
    """Store the text of a task's last error for the alert of its run; for the ``on_failure_callback`` of tasks."""
    from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout

    from include.errors import ChurnflowError

    error, task = context.get("exception"), context["ti"]
    if error is None:  # the DAG processor runs the callback of a killed task, and cannot store anything
        return
    # Only the product's own texts are known to contain no personal data.
    if isinstance(error, ChurnflowError | AirflowFailException):
        text = str(error)
    elif isinstance(error, AirflowTaskTimeout):
        text = f"The task exceeded its time-out of {context['task'].execution_timeout} h."
    else:
        text = f"{type(error).__name__}; see the task's log."
    task.xcom_push(ERROR, text)


def alert_failed_run(context: Any) -> None:
    """Send the alert of a failed run; for the ``on_failure_callback`` of DAGs."""
    from urllib.parse import quote

    from airflow.sdk.configuration import conf
    from airflow.sdk.execution_time import task_runner

    from include.monitoring.alerts import run_failure

    if not hasattr(task_runner, "SUPERVISOR_COMMS"):  # `airflow dags test`, which prints the errors itself
        return
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    url = f"{base}/dags/{dag_id}/runs/{quote(run_id, safe='')}"
    try:
        failures = _failures(context["dag"], run_id)
    except Exception:  # send the alert without details
        log.exception("The failed tasks of run %s cannot be listed.", run_id)
        failures = {}
    deliver(run_failure(dag_id, run_id, failures, context.get("reason", "unknown"), url))


def _failures(dag: Any, run_id: str) -> dict[str, str | None]:
    """Return the failed tasks of a run with the text of their errors."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    from airflow.sdk.execution_time.xcom import XCom

    found: dict[str, str | None] = {}
    for name, state in RuntimeTaskInstance.get_task_states(dag.dag_id, run_ids=[run_id]).get(run_id, {}).items():
        if state == "failed":
            # The name of an instance of a mapped task ends in its index.
            task_id, _, index = name.rpartition("_") if not dag.has_task(name) else (name, "", "-1")
            found[name] = XCom.get_one(
                key=ERROR, dag_id=dag.dag_id, task_id=task_id, run_id=run_id, map_index=int(index)
            )
    return found


def _connection_exists(conn_id: str) -> bool:
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        Connection.get(conn_id)
    except AirflowNotFoundException:
        return False
    return True
