"""The champion to the endpoint."""

from __future__ import annotations

from airflow.sdk import Param, PartitionedAssetTimetable, dag, get_current_context, task

from dags.wiring.assets import CHAMPION, ENDPOINT, announce
from dags.wiring.day import day_param, resolve_day
from dags.wiring.defaults import common
from include.settings import get_settings

DOC = """
### The champion to the endpoint

Builds a Bento from the champion, starts it aside and compares its answers with those that training recorded, switches
the endpoint to it, and verifies it there. On any failure the former Bento goes on serving.

Runs when a champion is named, or by hand, with a version to deploy another one.
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
            description="In the registry; the champion when empty.",
        ),
    },
    **common("serving"),
)
def churn_deploy() -> None:
    @task
    def resolve_version() -> str:
        """Find the version to deploy: the one that a person typed, or the champion."""
        from include.training.registry import Registry

        typed = get_current_context()["params"].get("model_version")
        return typed or Registry(get_settings()).require("champion")

    @task
    def build_bento(version: str) -> dict[str, str]:
        """Package the version's bundle as a Bento."""
        from include.serving import deploy

        return deploy.build(version, get_settings())

    @task
    def smoke_test(bento: dict[str, str]) -> dict[str, float]:
        """Start the Bento aside and compare its answers with those that training recorded."""
        from include.serving import deploy

        return deploy.smoke(bento, get_settings())

    @task(outlets=[ENDPOINT])
    def roll_out(bento: dict[str, str]) -> dict[str, str]:
        """Switch the endpoint, verify it, and go back to the former Bento on failure."""
        from include.serving import deploy

        context = get_current_context()
        served = deploy.roll_out(bento, get_settings())
        announce(context, ENDPOINT, resolve_day(context), model_version=bento["model_version"])
        return served

    bento = build_bento(resolve_version())
    smoke_test(bento) >> roll_out(bento)


churn_deploy()
