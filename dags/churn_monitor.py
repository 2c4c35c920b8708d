"""Monitor drift and realised performance of the serving model."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task

from dags.wiring.assets import SCORES, TRAINING_REQUEST, emit_asset_event
from dags.wiring.day import day_param, resolve_day
from dags.wiring.defaults import common
from include.days import parse_day
from include.settings import get_settings

DOC = """
### Monitor drift and realised performance

Collects the endpoint's predictions from the prediction log into `gold/predictions`. Compares the latest production
data, feature by feature, with the latest training data of the serving model; evaluates the scores with matured labels;
estimates the performance of the day's scores; and writes an HTML report and `result.json`.

Drift and decay open an **incident**. `send_messages` reports when it opens, gets worse or better, and ends: to Slack if
the connection `slack_churn` exists, otherwise to its log. Decay, and drift that changes the expected saving, **request
a training**. Drift requests no training while a source delivers fewer rows than usual. There is no request within
`retrain_cooldown_days` of the model's data set or of another request, since there would be too few new labels.

If you mark `request_retraining` successful by hand, no event is emitted, so no training starts; trigger `churn_train`
then.

Runs after each retention list. Until the first labels have matured, the performance is *not yet known*.
"""


@dag(
    dag_id="churn_monitor",
    dag_display_name="5 · Monitor",
    description="Drift and realised performance: report, incidents, and a training request if needed.",
    doc_md=DOC,
    schedule=PartitionedAssetTimetable(assets=SCORES),
    params={"day": day_param("Day", "A day with a retention list.")},
    **common("monitoring"),
)
def churn_monitor() -> None:
    @task
    def choose_day() -> str:
        """Return the run's day; fail without a day, before anything changes."""
        return str(resolve_day(get_current_context()))

    @task
    def collect_predictions() -> dict[str, Any]:
        """Collect new predictions of the endpoint into the lake."""
        from include.serving.prediction_log.collect import collect_predictions

        return collect_predictions(get_settings()).as_dict()

    # This task also runs if collect_predictions failed: drift and the performance of the retention list do not need the
    # prediction log. The run then fails because of its task predictions_collected.
    @task(trigger_rule="all_done_min_one_success")
    def monitor_day(day: str) -> dict[str, Any]:
        """Monitor the day, write its reports, and return their paths and results."""
        from include.monitoring.monitor_day import monitor_day
        from include.projects import load_project

        settings = get_settings()
        return monitor_day(load_project(settings.project), settings, parse_day(day))

    @task
    def record_incidents(result: dict[str, Any]) -> dict[str, str]:
        """Record the incidents of the day, and return their changes."""
        from include.monitoring.incidents import record_incidents
        from include.projects import load_project

        settings = get_settings()
        found = record_incidents(load_project(settings.project), settings, parse_day(result["day"]))
        return {incident.incident_id: incident.change for incident in found}

    @task
    def send_messages() -> dict[str, int]:
        """Send the messages that have not been sent, including those of earlier runs."""
        from dags.wiring.alerts import send_waiting

        return send_waiting()

    @task(outlets=[TRAINING_REQUEST])
    def request_retraining(result: dict[str, Any]) -> str:
        """Request a training after drift or decay; otherwise skip."""
        from airflow.sdk.exceptions import AirflowSkipException

        if not result["requests_training"]:
            raise AirflowSkipException("There is no drift or decay, or the model or an earlier request is too recent.")
        context = get_current_context()
        emit_asset_event(context, TRAINING_REQUEST, resolve_day(context), reason=result["retrain_reason"])
        return str(result["retrain_reason"])

    day, collected = choose_day(), collect_predictions()
    result = monitor_day(day)
    day >> collected >> [result, EmptyOperator(task_id="predictions_collected")]
    record_incidents(result) >> send_messages()
    request_retraining(result)


churn_monitor()
