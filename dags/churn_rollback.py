"""Back to the previous champion, in the registry and at the endpoint."""

from __future__ import annotations

from airflow.sdk import dag, task

from dags.wiring.defaults import common
from include.settings import get_settings

DOC = """
### Back to the previous champion

Puts the Bento that served before back in service, waits until the endpoint answers with it, and only then names its
version champion again. By hand only.
"""


@dag(
    dag_id="churn_rollback",
    dag_display_name="6 · Roll back",
    description="By hand: put the previous model back, at the endpoint and in the registry.",
    doc_md=DOC,
    schedule=None,
    **common("serving"),
)
def churn_rollback() -> None:
    @task
    def roll_back_endpoint() -> dict[str, str]:
        """Put the former Bento back and wait until it answers."""
        from include.serving import deploy

        return deploy.roll_back(get_settings())

    @task
    def roll_back_registry(served: dict[str, str]) -> str:
        """Name the version that serves champion again."""
        from include.training.registry import Registry

        Registry(get_settings()).restore_champion(served["model_version"])
        return served["model_version"]

    roll_back_registry(roll_back_endpoint())


churn_rollback()
