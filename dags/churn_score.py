"""The retention list of a day."""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, get_current_context, task

from dags.wiring.assets import ENDPOINT, GOLD, SCORES, announce
from dags.wiring.day import day_param, resolve_day
from dags.wiring.defaults import common
from include.settings import get_settings

DOC = """
### The retention list

Scores every active customer of the day with the model that the endpoint serves, and replaces that day of
`gold/scores`: customers by falling risk, with probability, prediction and model version; the first of
them (`CHURN_SERVING__REASONS_FOR`) with what raises and what lowers their risk, in words.

Then `update_online_store` keeps the day's features for requests that name a customer and no features; a customer who
has newer ones keeps them. It may fail and be retried alone: the list is written by then.

Runs after each gold day, and again when another model is deployed or rolled back to. Before the first deployment it
has nothing to do and skips.
"""


@dag(
    dag_id="churn_score",
    dag_display_name="4 · Score",
    description="Score every active customer of the day: the retention list.",
    doc_md=DOC,
    schedule=PartitionedAssetTimetable(assets=GOLD | ENDPOINT),
    params={"day": day_param("Day", "A day that is in gold.")},
    **common("serving"),
)
def churn_score() -> None:
    @task
    def find_model() -> str:
        """Find the deployed model; skip when there is none yet."""
        from airflow.sdk.exceptions import AirflowSkipException

        from include.serving.deployment.transaction import served_bento

        served = served_bento(get_settings().serving_dir)
        if served is None:
            raise AirflowSkipException("No model is deployed yet.")
        return served.model_version

    @task(outlets=[SCORES])
    def score_customers() -> dict[str, Any]:
        """Score the day in one pass and replace its list."""
        from include.retention.retention_list import score_day

        context = get_current_context()
        day = resolve_day(context)
        result = score_day(day, get_settings()).as_dict()
        announce(context, SCORES, day, version=result["version"], rows=result["rows_written"])
        return result

    @task
    def update_online_store() -> dict[str, Any]:
        """Keep the day's features where the endpoint finds them by customer."""
        from include.serving.online_store.update import update_store

        return update_store(resolve_day(get_current_context()), get_settings()).as_dict()

    find_model() >> score_customers() >> update_online_store()


churn_score()
