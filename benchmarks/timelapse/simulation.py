"""Simulate the days of a plan under the DAGs of a running stack."""

from __future__ import annotations

import datetime as dt
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.figures import report
from benchmarks.local_stack import copy_code, running_stack
from benchmarks.timelapse.requests import Requests
from benchmarks.timelapse.world import PROJECT, Plan
from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import SCORES_TABLE
from include.monitoring.results import read_result
from include.retention.retention_list import deployed_bento
from include.settings import Settings
from include.training.model.bundle import Bundle
from local.client import AirflowClient, Snapshot
from local.demo import Demo

_DAILY = ("churn_ingest", "churn_score", "churn_monitor")
_LIMIT_SECONDS = 12 * 3600.0
_VARIABLES = {"CHURN_SERVING__REASONS_FOR": "10"}

_SMALL_WORLD: dict[str, dict[str, Any]] = {
    "training.yaml": {
        "n_trials": 4,
        "tuning_rows": 20_000,
        "search_space.n_estimators": {"low": 100, "high": 300},
    },
    "requirements.yaml": {"data.min_training_samples": 20_000},
}
"""The changes of the project for a world of a few thousand customers: shorter searches, fewer trees and required rows.

All rules of drift, decay, training and promotion are those of the project.
"""


@dataclass(frozen=True)
class SimulatedDay:
    """The actions of the product on a day.

    Attributes:
        day: The day.
        requested: The reason of a training request; None without a request.
        promoted: Whether the training promoted its model; None without a training.
        model_version: The version of the model that scored the day's list.
    """

    day: dt.date
    requested: str | None
    promoted: bool | None
    model_version: str


@dataclass(frozen=True)
class Simulation:
    """The simulated days of a plan.

    Attributes:
        settings: The settings of the deployment, whose lake and reports remain.
        days: The days, in order.
        first_model: The model that was deployed before the first day.
        requests: The requests and their results.
    """

    settings: Settings
    days: tuple[SimulatedDay, ...]
    first_model: Bundle
    requests: Requests


def simulate(plan: Plan, home: Path) -> Simulation:
    """Start a stack, ingest the history with a first training, and simulate the days one after the other.

    Requests are sent from the end of the history to the end of the last day. In the home, ``tasks.log`` has the states
    of the tasks, and ``days.jsonl`` the days that are complete.

    Args:
        plan: The days.
        home: An empty folder with the landing files of all days.

    Raises:
        DemoError: A task failed or the time limit was exceeded.
    """
    code = home / "code"
    copy_code(code, PROJECT, _SMALL_WORLD)
    with running_stack(home, PROJECT, _VARIABLES, code) as stack, (home / "tasks.log").open("w") as log:
        client = AirflowClient(stack.airflow_url, password=stack.admin_password)
        settings = stack.settings
        try:
            demo = Demo(client, Console(file=log, width=200), time.monotonic() + _LIMIT_SECONDS)
            demo.prepare()
            report(f"The stack runs at {stack.airflow_url}. Ingesting the history, {plan.history}.")
            demo.run(plan.history, (*_DAILY, "churn_train", "churn_deploy"))
            first_model = deployed_bento(settings).load_bundle()
            with Requests(settings.serving.url, listed_customers(settings, plan.history.last)) as requests:
                days = simulate_days(demo, settings, plan.simulated, requests)
        finally:
            client.close()
    return Simulation(settings, days, first_model, requests)


def listed_customers(settings: Settings, day: dt.date) -> list[str]:
    """Return the customers of a day's retention list.

    Args:
        settings: The lake.
        day: The day.
    """
    customers: list[str] = open_lake(settings).table(SCORES_TABLE).read([day])["customer_id"].to_pylist()
    return customers


def simulate_days(demo: Demo, settings: Settings, days: DayRange, requests: Requests) -> tuple[SimulatedDay, ...]:
    """Simulate days in their order, and return the actions of the product on each of them.

    A day is ingested while the customers of the day before are scored and monitored. It is ingested after a training
    that is due on the day before and the deployment of its model. If the monitoring requests a training, the next day
    may still be scored with the previous model.

    Args:
        demo: The stack's Airflow.
        settings: The settings of the deployment.
        days: The days, whose files are delivered.
        requests: The running requests.

    Raises:
        DemoError: A task failed or the time limit was exceeded.
    """
    simulated = []
    ingest = demo.start(DayRange.single(days.first))
    for day in days:
        begun = demo.wait_for_ingest(ingest)
        if _state(begun, "churn_ingest", "request_training") == "success":
            demo.wait(ingest, _DAILY)
        following = demo.start(DayRange.single(day + dt.timedelta(days=1))) if day < days.last else None
        simulated.append(_simulated_day(demo.wait(ingest, _DAILY), settings, day, requests))
        ingest = following or ingest
    return tuple(simulated)


def _simulated_day(snapshot: Snapshot, settings: Settings, day: dt.date, requests: Requests) -> SimulatedDay:
    result = read_result(settings.reports_dir, day)
    simulated = SimulatedDay(
        day=day,
        requested=_requested(snapshot, result["retrain_reason"]),
        promoted=_promoted(snapshot),
        model_version=result["model_version"],
    )
    record = asdict(simulated) | {"requests": requests.sent, "failed": requests.failed.total()}
    with (settings.home / "days.jsonl").open("a") as file:
        file.write(json.dumps(record, default=str) + "\n")
    report(", ".join(f"{name} {value}" for name, value in record.items()))
    return simulated


def _requested(snapshot: Snapshot, retrain_reason: str | None) -> str | None:
    if _state(snapshot, "churn_monitor", "request_retraining") == "success":
        return retrain_reason
    return "due" if _state(snapshot, "churn_ingest", "request_training") == "success" else None


def _promoted(snapshot: Snapshot) -> bool | None:
    state = _state(snapshot, "churn_train", "announce_champion")
    return None if state is None else state == "success"


def _state(snapshot: Snapshot, dag_id: str, task_id: str) -> str | None:
    states = {task.state for task in snapshot.tasks if (task.dag_id, task.task_id) == (dag_id, task_id)}
    return "success" if "success" in states else min(map(str, states), default=None)
