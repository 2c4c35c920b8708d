"""Score the customers of a day: the retention list."""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task

from dags.wiring.assets import ENDPOINT, GOLD, SCORES, emit_asset_event
from dags.wiring.day import day_param, resolve_day
from dags.wiring.deadline import list_deadline
from dags.wiring.defaults import common
from include.settings import get_settings

DOC = """
### Score the customers of a day

Scores the customers of the day with the model that the endpoint serves, and replaces that day of `gold/scores`.
Customers who are known to have churned are left out. The list orders the customers by decreasing churn probability,
with prediction and model version. The first `CHURN_SERVING__REASONS_FOR` customers also have the reasons that raise and
lower their probability, as text.

Then `update_online_store` writes the day's features to the online store, for requests with a customer id and without
features. It does not replace newer features of a customer. This task can be retried alone.

If you mark `score_customers` successful by hand, no event is emitted, so the day is not monitored; `churn_maintenance`
finds such days.

Runs after each gold day, and after each deployment or rollback. Skips before the first deployment.
"""


@dag(
    dag_id="churn_score",
    dag_display_name="4 · Score",
    description="Score the customers of the day who have not churned: the retention list.",
    doc_md=DOC,
    schedule=PartitionedAssetTimetable(assets=GOLD | ENDPOINT),
    params={"day": day_param("Day", "A day in gold.")},
    **list_deadline("gold/scores"),
    **common("serving"),
)
def churn_score() -> None:
    @task
    def find_model() -> str:
        """Return the version of the serving model; skip if there is none."""
        from airflow.sdk.exceptions import AirflowSkipException

        from include.serving.deployment.state import open_state

        served = open_state(get_settings()).served()
        if served is None:
            raise AirflowSkipException("No model is deployed.")
        return served.model_version

    @task(outlets=[SCORES])
    def score_customers() -> dict[str, Any]:
        """Score the day in one pass and replace its retention list."""
        from include.retention.retention_list import score_day

        context = get_current_context()
        day = resolve_day(context)
        result = score_day(day, get_settings()).as_dict()
        emit_asset_event(context, SCORES, day, version=result["version"], rows=result["rows_written"])
        return result

    @task
    def update_online_store() -> dict[str, Any]:
        """Store the day's features for the endpoint, by customer."""
        from include.serving.online_store.update import update_store

        return update_store(resolve_day(get_current_context()), get_settings()).as_dict()

    find_model() >> score_customers() >> update_online_store()


churn_score()
