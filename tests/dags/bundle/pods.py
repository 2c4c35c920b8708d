"""A DAG of the tuning and training tasks and the task that reads their result, for tests with a simulated cluster."""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import DAG, dag, task

from dags.wiring.training_task import RESULT, training_task, tuning_task
from include.settings import Settings, get_settings

DATASET = "grocery/2017-12-31"
QUICK = {"startup_check_interval_seconds": 0.1, "poll_interval": 0.1, "logging_interval": 1}
"""Short intervals, since the simulated cluster responds immediately."""


def pods(
    settings: Settings,
    *,
    tuning: list[str] | None = None,
    training: list[str] | None = None,
    without_dataset: bool = False,
    startup_timeout_seconds: int | None = None,
) -> DAG:
    """Return the DAG: workers, the final fit, and the task that reads its result.

    Args:
        settings: The settings of the pods.
        tuning: A Python program and its arguments, to run instead of the workers' command.
        training: A Python program and its arguments, to run instead of the final fit's command.
        without_dataset: Whether the upstream task fails.
        startup_timeout_seconds: The start-up timeout of the final fit's pod, instead of the setting.
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
            """Stand in for the tasks that build the data set and store its version."""
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
        if startup_timeout_seconds is not None:
            # The operator derives the schedule timeout from the start-up timeout when it is created.
            vars(train).update(
                dict.fromkeys(["startup_timeout_seconds", "schedule_timeout_seconds"], startup_timeout_seconds)
            )
        if tuning:
            tune.expand_input.value["arguments"] = [["-c", *tuning, str(i)] for i in range(settings.training.workers)]
        if training:
            train.arguments = ["-c", *training]

    return build()


pods(get_settings())
