"""The lineage events of the tasks of an ingest, with the configuration of the local stack."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from include.days import DayRange
from include.settings import ROOT, Settings
from local.environment import lineage_environment
from tests.world import FIRST, write_world

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

TASKS = ("audit_sources", "load_bronze", "build_silver_and_gold", "build_labels", "request_training")
HOUSEHOLD = "household_id"


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The events of an ingest of ten days, of which one delivery is missing, and of its repetition, in their order."""
    home = tmp_path_factory.mktemp("lineage")
    settings, days = Settings(home=home), DayRange(FIRST, FIRST + dt.timedelta(days=9))
    landing = home / "landing" / "grocery"
    write_world(landing, days)
    environment = os.environ | lineage_environment(settings)
    environment |= {
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "CHURN_HOME": str(home),
        "PYTHONPATH": str(ROOT),
    }

    def airflow(*arguments: str) -> int:
        command = [str(Path(sys.executable).with_name("airflow")), *arguments]
        with (home / "airflow.log").open("ab") as log:
            return subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=False).returncode

    parameters = json.dumps({"from_day": str(days.first), "to_day": str(days.last), "remark": "Jane Doe"})
    assert airflow("db", "migrate") == 0
    delivery = landing / "transactions" / f"{days.last}.parquet"
    delivery.rename(delivery.with_suffix(".late"))
    assert airflow("dags", "test", "churn_ingest", str(FIRST), "--conf", parameters) == 1
    delivery.with_suffix(".late").rename(delivery)
    assert airflow("dags", "test", "churn_ingest", str(FIRST), "--conf", parameters) == 0
    return [json.loads(path.read_text()) for path in sorted(settings.lineage_dir.iterdir())]


def of(events: list[dict[str, Any]], task: str, kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["job"]["name"] == f"churn_ingest.{task}" and event["eventType"] == kind]


@pytest.mark.parametrize("task", TASKS)
def test_each_task_has_an_event_for_its_start_and_its_end(events: list[dict[str, Any]], task: str) -> None:
    assert of(events, task, "COMPLETE")
    started = {event["run"]["runId"] for event in of(events, task, "START")}
    assert started == {event["run"]["runId"] for kind in ("COMPLETE", "FAIL") for event in of(events, task, kind)}


def test_failed_task_has_an_event_of_its_failure(events: list[dict[str, Any]]) -> None:
    failed = [event for event in events if event["eventType"] == "FAIL"]
    assert {event["job"]["name"] for event in failed} == {"churn_ingest.audit_sources"}


def test_versions_are_those_of_the_tables(events: list[dict[str, Any]]) -> None:
    written = [dataset for task in TASKS for event in of(events, task, "COMPLETE") for dataset in event["outputs"]]
    assert {"bronze/transactions", "silver/transactions", "gold/features"} <= {
        dataset["name"].split("/grocery/")[-1] for dataset in written
    }
    for dataset in written:
        assert dataset["facets"]["version"]["datasetVersion"] == str(DeltaTable(dataset["name"]).version())


def test_inputs_of_columns_are_columns_of_the_inputs(events: list[dict[str, Any]]) -> None:
    (event,) = of(events, "build_silver_and_gold", "COMPLETE")
    columns = {
        (dataset["namespace"], dataset["name"], field["name"])
        for dataset in event["inputs"]
        for field in dataset["facets"]["schema"]["fields"]
    }
    (gold,) = (dataset for dataset in event["outputs"] if dataset["name"].endswith("gold/features"))
    facet = gold["facets"]["columnLineage"]
    found = [item for field in facet["fields"].values() for item in field["inputFields"]] + facet["dataset"]
    assert {(item["namespace"], item["name"], item["field"]) for item in found} <= columns
    spend = next(name for name in facet["fields"] if name.startswith("spend_"))
    effects = {item["field"]: item["transformations"][0]["type"] for item in facet["fields"][spend]["inputFields"]}
    assert effects["sales_value"] == "DIRECT"
    assert effects[HOUSEHOLD] == "INDIRECT"


def test_events_contain_no_parameters_users_texts_of_errors_or_code(events: list[dict[str, Any]]) -> None:
    text = json.dumps(events)
    assert not any(word in text for word in ("Jane Doe", "triggering_user_name", "errorMessage", "sourceCode"))
