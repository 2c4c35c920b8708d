"""Deploy the champion to the endpoint."""

from __future__ import annotations

from airflow.sdk import Param, PartitionedAssetTimetable, dag, get_current_context, task

from dags.wiring.assets import CHAMPION, ENDPOINT, emit_asset_event
from dags.wiring.day import day_param, find_day
from dags.wiring.defaults import common
from include.days import parse_day
from include.settings import get_settings

DOC = """
### Deploy the champion to the endpoint

Builds a Bento from the champion, starts it on a private socket and compares its predictions with those recorded by
training. Then the endpoint switches to the Bento without dropping a request. After a failure, the former Bento still
serves. The day and the version are checked first, before anything changes.

If a rollback is triggered during the deployment, the deployment fails and is not retried. If you mark `roll_out`
successful by hand, no event is emitted, so no list is scored with the new model; trigger `churn_score` then.

Runs for each new champion, or manually, with a model version to deploy. In the role *shadow*, the model scores the same
requests as the serving model; its predictions are logged for comparison and not returned to clients.
"""


@dag(
    dag_id="churn_deploy",
    dag_display_name="3 · Deploy",
    description="Package the champion as a Bento, test it, switch the endpoint to it, verify.",
    doc_md=DOC,
    schedule=PartitionedAssetTimetable(assets=CHAMPION),
    params={
        "day": day_param("Day", "The day to score after the deployment. Default: the newest day in gold."),
        "model_version": Param(
            None,
            type=["null", "string"],
            title="Model version",
            description="A version in the registry. Default: the champion, or the challenger for the role shadow.",
        ),
        "role": Param(
            "serve",
            enum=["serve", "shadow"],
            title="Role",
            description="serve: the endpoint switches to the model; shadow: its predictions are only logged.",
        ),
    },
    **common("serving"),
)
def churn_deploy() -> None:
    @task
    def choose_day() -> str:
        """Return the day to score after the deployment: the run's day, or the newest day in gold."""
        from include.serving.deployment import deploy

        return str(deploy.day_to_score(find_day(get_current_context()), get_settings()))

    @task
    def resolve_version() -> str:
        """Return the version to deploy: the parameter, or the version of the registry's alias; check it for leaks."""
        from include.serving.deployment import deploy

        params = get_current_context()["params"]
        return deploy.resolve(params.get("model_version"), params["role"], get_settings())

    @task
    def build_bento(version: str) -> dict[str, str]:
        """Package the version's bundle as a Bento."""
        from include.serving.deployment import deploy

        return deploy.build(version, get_settings())

    @task
    def smoke_test(bento: dict[str, str]) -> dict[str, float]:
        """Start the Bento on a private socket and compare its predictions with those recorded by training."""
        from include.serving.deployment import deploy

        return deploy.smoke(bento, get_settings())

    @task.branch
    def choose_role() -> str:
        """Return the id of the task for the role."""
        return "start_shadow" if get_current_context()["params"]["role"] == "shadow" else "roll_out"

    @task
    def start_shadow(bento: dict[str, str]) -> dict[str, str]:
        """Start the model as the shadow of the serving model."""
        from include.serving.deployment import deploy

        return deploy.start_shadow(bento, get_settings())

    @task(outlets=[ENDPOINT])
    def roll_out(bento: dict[str, str], day: str) -> dict[str, str]:
        """Switch the endpoint to the Bento, verify it there, and switch back after a failure."""
        from include.serving.deployment import deploy

        context = get_current_context()
        served = deploy.roll_out(bento, context["dag_run"].run_after, get_settings())
        emit_asset_event(context, ENDPOINT, parse_day(day), model_version=bento["model_version"])
        return served

    day, version = choose_day(), resolve_version()
    bento = build_bento(version)
    day >> version
    smoke_test(bento) >> choose_role() >> [roll_out(bento, day), start_shadow(bento)]


churn_deploy()
