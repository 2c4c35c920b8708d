"""Drift and realised performance of the model in production."""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task

from dags.wiring.assets import SCORES, TRAINING_REQUEST, announce
from dags.wiring.day import day_param, resolve_day
from dags.wiring.defaults import common
from include.settings import get_settings

DOC = """
### Drift and realised performance

Compares the last days of production data, feature by feature, with what the deployed model learned from last; judges
the scores whose labels have become known since; and writes an HTML report and `result.json`.

Before that, what the endpoint answered is brought from the prediction log into `gold/predictions`.

On drift or decay it **alerts** (Slack, when the connection `slack_churn` exists; the task's log when not) and
**requests a training**, unless one could learn nothing new: a model younger than one label horizon is left alone.

Runs after each retention list. On the first days nothing has matured; performance is then *not yet known*.
"""


@dag(
    dag_id="churn_monitor",
    dag_display_name="5 · Monitor",
    description="Drift and realised performance: report, alert, and a training request when called for.",
    doc_md=DOC,
    schedule=PartitionedAssetTimetable(assets=SCORES),
    params={"day": day_param("Day", "A day that was scored.")},
    **common("monitoring"),
)
def churn_monitor() -> None:
    @task
    def collect_predictions() -> dict[str, Any]:
        """Bring the endpoint's answers that the lake does not have yet into it."""
        from include.serving.prediction_log.collect import collect_predictions

        return collect_predictions(get_settings()).as_dict()

    # Drift and the retention list's performance do not depend on the log; its failure has an alert of its own.
    @task(trigger_rule="all_done")
    def monitor_day() -> dict[str, Any]:
        """Compare, judge, and write the day's reports; hands on where they are and what they say."""
        from include.monitoring.monitor_day import monitor_day
        from include.projects import load_project

        settings = get_settings()
        return monitor_day(load_project(settings.project), settings, resolve_day(get_current_context()))

    @task
    def send_alert(result: dict[str, Any]) -> str:
        """Tell the team about drift or decay; says so in the log when there is neither."""
        import logging

        from dags.wiring.alerts import deliver
        from include.monitoring.alerts import monitoring_alert

        message = monitoring_alert(result)
        if message is None:
            logging.getLogger(__name__).info("No drift and no decay on %s: nothing to alert about.", result["day"])
            return "nothing"
        return deliver(message)

    @task(outlets=[TRAINING_REQUEST])
    def request_retraining(result: dict[str, Any]) -> str:
        """Ask for a training when drift or decay calls for one; otherwise skip."""
        from airflow.sdk.exceptions import AirflowSkipException

        if result["retrain_reason"] is None:
            raise AirflowSkipException("Nothing calls for a training, or one could learn nothing new.")
        context = get_current_context()
        announce(context, TRAINING_REQUEST, resolve_day(context), reason=result["retrain_reason"])
        return str(result["retrain_reason"])

    result = monitor_day()
    collect_predictions() >> result
    send_alert(result)
    request_retraining(result)


churn_monitor()
