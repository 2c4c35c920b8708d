"""A DAG of the approval and a task that returns its result, for tests without a training."""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, dag, task

from dags.wiring.approval import PromotionApproval
from dags.wiring.defaults import TASKS

VERSION = "7"


def approval() -> DAG:
    """Return the DAG: the approval of version 7, and the task that gets it."""

    @dag(
        dag_id="approval",
        schedule=None,
        start_date=dt.datetime(2017, 1, 1, tzinfo=dt.UTC),
        default_args=TASKS | {"execution_timeout": dt.timedelta(minutes=2)},
    )
    def build() -> None:
        @task
        def decide(approval: dict[str, Any] | None) -> dict[str, Any] | None:
            return approval

        decide(PromotionApproval(task_id="approve_promotion", hours=1, version=VERSION).output)

    return build()


approval()
