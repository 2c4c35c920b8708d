"""Roll back to the previous champion, at the endpoint and in the registry."""

from __future__ import annotations

from airflow.sdk import Param, dag, get_current_context, task

from dags.wiring.assets import ENDPOINT, emit_asset_event
from dags.wiring.defaults import common
from include.settings import get_settings

DOC = """
### Roll back to the previous champion

Switches the endpoint to the version that served before, or to a given version, without dropping a request. The Bento is
on the local disk, or is built from the registry. A given version must have no leakage findings. Then the DAG sets the
registry's alias *champion*. If the registry does not answer, the endpoint stays rolled back and `roll_back_registry`
fails; clear that task later. Last, the newest retention list is scored again with the serving model.

Without a version, the rollback replaces the version that served when the run was triggered. Therefore, if two
rollbacks are triggered at the same time, the second changes nothing. A rollback fails if another version than *From
version* serves.

If you mark `announce_endpoint` successful by hand, no event is emitted, so the list keeps the scores of the former
model; trigger `churn_score` then.

Manual runs only.
"""


@dag(
    dag_id="churn_rollback",
    dag_display_name="6 · Roll back",
    description="Manual: switch back to the previous model, at the endpoint and in the registry.",
    doc_md=DOC,
    schedule=None,
    params={
        "model_version": Param(
            None,
            type=["null", "string"],
            title="Model version",
            description="A version in the registry. Default: the version that served before.",
        ),
        "from_version": Param(
            None,
            type=["null", "string"],
            title="From version",
            description="The version to replace. Default: the version that served when the run was triggered.",
        ),
    },
    **common("serving"),
)
def churn_rollback() -> None:
    @task
    def roll_back_endpoint() -> dict[str, str]:
        """Switch the endpoint to the former version and wait until it serves."""
        from include.serving.deployment import deploy

        context = get_current_context()
        params, requested = context["params"], context["dag_run"].run_after
        return deploy.roll_back(params["model_version"], get_settings(), requested, params["from_version"])

    @task
    def roll_back_registry(served: dict[str, str]) -> str:
        """Set the registry's alias champion to the serving version."""
        from include.serving.deployment import deploy

        return deploy.restore_alias(served["model_version"], get_settings())

    @task(outlets=[ENDPOINT])
    def announce_endpoint(served: dict[str, str]) -> str:
        """Trigger a new scoring of the newest retention list; skip if there is none."""
        from airflow.sdk.exceptions import AirflowSkipException

        from include.retention.retention_list import newest_list

        day = newest_list(get_settings())
        if day is None:
            raise AirflowSkipException("There is no retention list.")
        emit_asset_event(get_current_context(), ENDPOINT, day, model_version=served["model_version"])
        return str(day)

    served = roll_back_endpoint()
    roll_back_registry(served)
    announce_endpoint(served)


churn_rollback()
