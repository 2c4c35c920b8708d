"""The tuning and training tasks alone, and what reads their result: a DAG with which tests send pods to a cluster."""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, dag, task

from dags.wiring.training_task import RESULT, training_task, tuning_task
from include.settings import Settings, get_settings

DATASET = "grocery/2017-12-31"
QUICK = {"startup_check_interval_seconds": 0.1, "poll_interval": 0.1, "logging_interval": 1}
"""A cluster on this machine answers at once."""


def pods(
    settings: Settings,
    *,
    tuning: list[str] | None = None,
    training: list[str] | None = None,
    without_dataset: bool = False,
) -> DAG:
    """Return the DAG: workers, the final fit, and what reads its result.

    Args:
        settings: Describe the pods.
        tuning: A Python program with its arguments instead of the workers'.
        training: And instead of the final fit's.
        without_dataset: The task before the workers fails.
    """

    @dag(
        dag_id="pods",
        schedule=None,
        start_date=dt.datetime(2017, 1, 1, tzinfo=dt.UTC),
        default_args={"retry_delay": dt.timedelta(0)},
    )
    def build() -> None:
        @task
        def start() -> None:
            """Stand for what makes the data set and keeps its version."""
            if without_dataset:
                raise RuntimeError("no data set")

        @task
        def read_result() -> dict[str, Any]:
            from include.training.commands import read_result, training_root

            return read_result(training_root(settings) / DATASET / RESULT)

        started = start()
        tune = tuning_task(settings, DATASET)
        train = training_task(settings, DATASET, trigger_rule="all_done_min_one_success")
        started >> tune >> train >> read_result()
        started >> train
        tune.partial_kwargs.update(QUICK)
        vars(train).update(QUICK)
        if tuning:
            tune.expand_input.value["arguments"] = [["-c", *tuning, str(i)] for i in range(settings.training.workers)]
        if training:
            train.arguments = ["-c", *training]

    return build()


pods(get_settings())
