"""Acknowledge an incident: state that a user works on it."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

from dags.wiring.defaults import common
from include.settings import get_settings

DOC = """
### Acknowledge an incident

Records that the user who triggered the run works on an incident. The page *Model health* and the first message in Slack
show the user. With a bot, a reply is also sent to the thread. The incident stays open until monitoring finds its end.

`python -m include.monitoring acknowledge` records the same; the next run of `churn_monitor` or `churn_maintenance`
sends the message.

Manual runs only.
"""


@dag(
    dag_id="churn_acknowledge",
    dag_display_name="8 · Acknowledge",
    description="Manual: state that a user works on an incident.",
    doc_md=DOC,
    schedule=None,
    params={
        "incident": Param(
            None,
            type=["null", "string"],
            title="Incident",
            description="The id, such as drift-2018-01-05. Default: the newest open incident.",
        ),
        "note": Param("", type="string", title="Note", description="A remark for other users.", maxLength=300),
    },
    **common("monitoring"),
)
def churn_acknowledge() -> None:
    @task
    def acknowledge() -> dict[str, Any]:
        """Record the acknowledgement, and send the message about it."""
        from dags.wiring.alerts import send_waiting
        from include.monitoring.incidents import acknowledge

        context = get_current_context()
        params, user = context["params"], context["dag_run"].triggering_user_name or "an unknown user"
        found = acknowledge(get_settings(), user, params["note"], params["incident"])
        return {"incident": found.incident_id, "user": found.user, **send_waiting()}

    acknowledge()


churn_acknowledge()
