"""Messages through Slack's incoming webhooks, with retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
from slack_sdk.http_retry.builtin_handlers import (
    ConnectionErrorRetryHandler,
    RateLimitErrorRetryHandler,
    ServerErrorRetryHandler,
)

if TYPE_CHECKING:
    from slack_sdk.http_retry import HttpResponse

    from include.monitoring.alerts import Message

_RETRIES = 3
_TIMEOUT_SECONDS = 10
_LONGEST_PAUSE_SECONDS = 30
"""A longer Retry-After is an error. With these limits a message takes less than three minutes, which is also the
time-out of callbacks in Airflow's DAG processor in this product's configurations."""


class BoundedRateLimitRetryHandler(RateLimitErrorRetryHandler):
    """Retry after the pause in a response with status 429, unless the pause is too long."""

    def _can_retry(self, *, response: HttpResponse | None = None, **arguments: Any) -> bool:
        if response is None or not super()._can_retry(response=response, **arguments):
            return False
        headers = {name.lower(): values for name, values in response.headers.items()}
        pause = headers.get("retry-after", ["1"])[0]
        return pause.isdecimal() and int(pause) <= _LONGEST_PAUSE_SECONDS


def send(message: Message, conn_id: str) -> None:
    """Send a message, and retry after status 429, a server error or a lost connection.

    Args:
        message: The message.
        conn_id: The connection of type ``slackwebhook``.

    Raises:
        AirflowException: Slack rejected the message.
        OSError: Slack did not answer.
    """
    kinds = (BoundedRateLimitRetryHandler, ServerErrorRetryHandler, ConnectionErrorRetryHandler)
    hook = SlackWebhookHook(
        slack_webhook_conn_id=conn_id,
        timeout=_TIMEOUT_SECONDS,
        retry_handlers=[kind(max_retry_count=_RETRIES) for kind in kinds],
    )
    hook.send(text=message.text, blocks=message.blocks)
