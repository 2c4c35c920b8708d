"""Alerts: to Slack if its connection exists, otherwise to the task's log."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from include.monitoring.alerts import Message

log = logging.getLogger(__name__)


def deliver(message: Message) -> Literal["slack", "log"]:
    """Send the message through the configured Slack connection; log it in one line if there is no such connection.

    Returns:
        The destination.

    Raises:
        SlackApiError: Slack rejected the message.
    """
    from include.settings import get_settings

    conn_id = get_settings().alerts.slack_conn_id
    if not _connection_exists(conn_id):
        log.warning("Alert (no connection %r): %s", conn_id, message.text)
        return "log"
    from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

    SlackWebhookHook(slack_webhook_conn_id=conn_id, timeout=10).send(text=message.text, blocks=message.blocks)
    log.info("Alert sent through connection %r: %s", conn_id, message.title)
    return "slack"


def alert_failure(context: Any) -> None:
    """Send an alert about a task that failed after its last retry; for ``on_failure_callback``."""
    from include.errors import ChurnflowError
    from include.monitoring.alerts import task_failure

    task, error = context["ti"], context.get("exception")
    # Only the product's own errors are known to contain no personal data.
    reason = str(error) if isinstance(error, ChurnflowError) else f"{type(error).__name__}; see the task's log."
    deliver(task_failure(task.dag_id, task.task_id, context["run_id"], reason, getattr(task, "log_url", None)))


def _connection_exists(conn_id: str) -> bool:
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        Connection.get(conn_id)
    except AirflowNotFoundException:
        return False
    return True
