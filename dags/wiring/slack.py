"""The destination of messages, from an Airflow connection of type ``slack`` or ``slackwebhook``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.monitoring.messages import Destination
    from include.settings import AlertSettings


def destination(alerts: AlertSettings) -> Destination:
    """Return the destination of messages: Slack, or only the log if the connection does not exist.

    Args:
        alerts: The connection and the channel.

    Raises:
        SlackRefusedError: A bot has no channel.
    """
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    from include.monitoring.messages import LogOnly
    from include.monitoring.slack import SlackBot, SlackRefusedError, SlackWebhook

    try:
        kind = Connection.get(alerts.slack_conn_id).conn_type
    except AirflowNotFoundException:
        return LogOnly()
    if kind != "slack":
        from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook

        return SlackWebhook(SlackWebhookHook(slack_webhook_conn_id=alerts.slack_conn_id).get_conn().url)
    from airflow.providers.slack.hooks.slack import SlackHook

    if not alerts.slack_channel:
        raise SlackRefusedError(
            "The Slack bot has no channel.",
            where="CHURN_ALERTS__SLACK_CHANNEL",
            remedy="Set it to the id at the end of the channel's details in Slack.",
        )
    client = SlackHook(slack_conn_id=alerts.slack_conn_id).get_conn()
    return SlackBot(client.token or "", alerts.slack_channel, client.base_url)
