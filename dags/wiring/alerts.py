"""Messages about failed runs and incidents: to the log and, if its connection exists, to Slack.

One message is sent about a failed run. Airflow's DAG processor sends it when the run has ended, so that it does not
depend on the process of a task, which may have been killed.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from include.monitoring.alerts import Addresses

log = logging.getLogger(__name__)

ERROR = "error"
"""The key of the XCom that contains the text of a task's error."""


def send_waiting() -> dict[str, int]:
    """Send the messages that have not been sent, and return the numbers of sent and of waiting messages.

    Raises:
        SlackRefusedError: Slack refused a message.
    """
    from dataclasses import asdict

    from dags.wiring.slack import destination
    from include.monitoring.messages import send_messages
    from include.settings import get_settings

    settings = get_settings()
    return asdict(send_messages(settings, destination(settings.alerts), message_addresses()))


def record_error(context: Any) -> None:
    """Store the text of a task's last error for the message of its run; for the ``on_failure_callback`` of tasks."""
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
    """Send the message about a failed run; for the ``on_failure_callback`` of DAGs."""
    import datetime as dt
    from urllib.parse import quote

    from airflow.sdk.execution_time import task_runner

    from include.monitoring.alerts import run_failure
    from include.settings import get_settings

    if not hasattr(task_runner, "SUPERVISOR_COMMS"):  # `airflow dags test`, which prints the errors itself
        return
    settings, addresses = get_settings(), message_addresses()
    dag_id, run_id, run = context["dag"].dag_id, context["run_id"], context.get("dag_run")
    url = f"{addresses.airflow}/dags/{dag_id}/runs/{quote(run_id, safe='')}"
    try:
        failures = _failures(context["dag"], run_id)
    except Exception:  # send the message without details
        log.exception("The failed tasks of run %s cannot be listed.", run_id)
        failures = {}
    message = run_failure(dag_id, run_id, failures, context.get("reason", "unknown"), url, addresses)
    # Airflow passes no run if its last task is no longer part of the DAG.
    day, attempt = (run.run_after.date(), run.clear_number) if run else (dt.date(1970, 1, 1), 0)
    key = f"{dag_id}/{run_id}/{attempt}"
    # The imports below take seconds, and the callback has a time limit.
    log.warning("Failed run: %s", message.text)
    from dags.wiring.slack import destination
    from include.monitoring.messages import send_run_failure

    send_run_failure(settings, lambda: destination(settings.alerts), addresses, day, key, message)


def message_addresses() -> Addresses:
    """Return the addresses of Airflow and of the runbook, for links."""
    from airflow.sdk.configuration import conf

    from include.monitoring.alerts import Addresses
    from include.settings import get_settings

    airflow = conf.get("api", "base_url", fallback="").rstrip("/")
    return Addresses(airflow, get_settings().alerts.runbook_url)


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
