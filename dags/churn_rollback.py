"""Back to the previous champion, in the registry and at the endpoint."""

from __future__ import annotations

from airflow.sdk import Param, dag, get_current_context, task

from dags.wiring.assets import ENDPOINT, announce
from dags.wiring.defaults import common
from include.settings import get_settings

DOC = """
### Back to the previous champion

Puts the version that served before, or the one that is typed, back in service without dropping a request: from
this disk, or built from the registry. A version that is typed must be free of suspected leaks. Only then it is named
champion again. If the registry does not answer, the endpoint stays rolled back and that task says so; clear it once
the registry is back. The newest retention list is written again, with the model that serves now. By hand only.
"""


@dag(
    dag_id="churn_rollback",
    dag_display_name="6 · Roll back",
    description="By hand: put the previous model back, at the endpoint and in the registry.",
    doc_md=DOC,
    schedule=None,
    params={
        "model_version": Param(
            None,
            type=["null", "string"],
            title="Model version",
            description="In the registry; the one that served before when empty.",
        ),
    },
    **common("serving"),
)
def churn_rollback() -> None:
    @task
    def roll_back_endpoint() -> dict[str, str]:
        """Put the former version back and wait until it answers."""
        from include.serving.deployment import deploy

        return deploy.roll_back(get_current_context()["params"]["model_version"], get_settings())

    @task
    def roll_back_registry(served: dict[str, str]) -> str:
        """Name the version that serves champion again."""
        from include.serving.deployment import deploy

        return deploy.restore_alias(served["model_version"], get_settings())

    @task(outlets=[ENDPOINT])
    def announce_endpoint(served: dict[str, str]) -> str:
        """Let the newest retention list be written again; skip before the first."""
        from airflow.sdk.exceptions import AirflowSkipException

        from include.retention.retention_list import newest_list

        day = newest_list(get_settings())
        if day is None:
            raise AirflowSkipException("There is no retention list yet.")
        announce(get_current_context(), ENDPOINT, day, model_version=served["model_version"])
        return str(day)

    served = roll_back_endpoint()
    roll_back_registry(served)
    announce_endpoint(served)


churn_rollback()
