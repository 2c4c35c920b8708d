"""The champion to the endpoint."""

from __future__ import annotations

from airflow.sdk import Param, PartitionedAssetTimetable, dag, get_current_context, task

from dags.wiring.assets import CHAMPION, ENDPOINT, announce
from dags.wiring.day import day_param, resolve_day
from dags.wiring.defaults import common
from include.settings import get_settings

DOC = """
### The champion to the endpoint

Builds a Bento from the champion, starts it aside and compares its answers with those that training recorded. Then the
endpoint changes to it without dropping a request. On any failure the former Bento has never stopped serving.

Runs when a champion is named, or by hand, with a version to deploy another one. In the role *shadow* a model answers
beside the one that serves: its answers are kept for comparison, and nobody gets them.
"""


@dag(
    dag_id="churn_deploy",
    dag_display_name="3 · Deploy",
    description="Package the champion as a Bento, test it aside, switch the endpoint to it, verify.",
    doc_md=DOC,
    schedule=PartitionedAssetTimetable(assets=CHAMPION),
    params={
        "day": day_param("Day", "The day to score once it is deployed."),
        "model_version": Param(
            None,
            type=["null", "string"],
            title="Model version",
            description="In the registry; when empty the champion, or the challenger for the shadow.",
        ),
        "role": Param("serve", enum=["serve", "shadow"], title="Role", description="What the model is to do."),
    },
    **common("serving"),
)
def churn_deploy() -> None:
    @task
    def resolve_version() -> str:
        """Find the version to deploy: the one that a person typed, or the one that the registry names."""
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
        """Start the Bento aside and compare its answers with those that training recorded."""
        from include.serving.deployment import deploy

        return deploy.smoke(bento, get_settings())

    @task.branch
    def choose_role() -> str:
        """Go on with the step that the role asks for."""
        return "start_shadow" if get_current_context()["params"]["role"] == "shadow" else "roll_out"

    @task
    def start_shadow(bento: dict[str, str]) -> dict[str, str]:
        """Let the model answer beside the one that serves."""
        from include.serving.deployment import deploy

        return deploy.start_shadow(bento, get_settings())

    @task(outlets=[ENDPOINT])
    def roll_out(bento: dict[str, str]) -> dict[str, str]:
        """Change the endpoint to the Bento, look at it there, and go back to the former one on failure."""
        from include.serving.deployment import deploy

        context = get_current_context()
        served = deploy.roll_out(bento, get_settings())
        announce(context, ENDPOINT, resolve_day(context), model_version=bento["model_version"])
        return served

    bento = build_bento(resolve_version())
    smoke_test(bento) >> choose_role() >> [roll_out(bento), start_shadow(bento)]


churn_deploy()
