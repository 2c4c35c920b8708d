"""The whole chain through a real scheduler, on the stack that the demo leaves."""

import datetime as dt
import shutil
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from benchmarks.ingest_runs import compare_lakes
from include.days import DayRange
from include.ingest import ingest_days
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE, MESSAGES_TABLE, PREDICTIONS_TABLE, SCORES_TABLE
from include.serving.deployment.state import ServingState
from include.settings import ProjectMismatchError, Settings
from local.client import Run
from local.demo import HISTORY, NEXT_DAY
from local.stack import Stack
from local.summary import collect
from local.supervision import wait_until
from tests.e2e.conftest import RunningStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2000)]

BACKFILL = DayRange(NEXT_DAY + dt.timedelta(days=1), NEXT_DAY + dt.timedelta(days=2))
NO_FILES = dt.date(2018, 6, 1)


def test_the_demo_leaves_a_served_and_monitored_model(demo: RunningStack) -> None:
    summary = collect(demo.stack, NEXT_DAY).as_dict()
    assert 0.70 < summary["auc"] < 0.90, "far above the reference means that the future leaks in"
    assert summary["rows"][SCORES_TABLE] > 500
    assert 0 <= summary["prediction"]["churn_probability"] <= 1
    assert summary["prediction"]["prediction"] in ("churn", "retain")
    assert (demo.stack.settings.reports_dir / "drift" / str(NEXT_DAY) / "index.html").exists()


def test_online_predictions_equal_the_batch_scores_by_features_and_by_id(demo: RunningStack) -> None:
    settings = demo.stack.settings
    lake, day = open_lake(settings), NEXT_DAY
    scores = lake.table(SCORES_TABLE).read([day], ["customer_id", "churn_probability", "prediction"])
    listed = {row["customer_id"]: row for row in scores.to_pylist()}
    with httpx.Client(base_url=settings.serving.url, trust_env=False) as endpoint:
        names = [feature["name"] for feature in endpoint.get("/model").json()["features"]]
        rows = lake.table(FEATURES_TABLE).read([day], ["customer_id", *names]).slice(0, 60).to_pylist()
        for row in rows:
            customer = row.pop("customer_id")
            by_features = endpoint.post("/predict", json={"customer_id": customer, "features": row}).json()
            by_id = endpoint.post("/predict", json={"customer_id": customer}).json()
            for answer in (by_features, by_id):
                expected = listed[customer]["churn_probability"]
                assert answer["churn_probability"] == pytest.approx(expected, abs=1e-6)
                assert answer["prediction"] == listed[customer]["prediction"]
            assert by_id["features_day"] == str(day)


def test_the_error_response_for_invalid_input_names_the_field(demo: RunningStack) -> None:
    answer = httpx.post(
        f"{demo.stack.settings.serving.url}/predict", json={"customer_id": "1", "features": {"baskets_7d": "many"}}
    )
    assert 400 <= answer.status_code < 500
    assert "baskets_7d" in answer.text


def test_the_stack_runs_for_one_project(demo: RunningStack) -> None:
    settings = demo.stack.settings
    other = Stack(Settings(home=settings.home, project="subscription", serving=settings.serving), demo.stack.ports)
    for use in (lambda: other.up(print), other.environment):
        with pytest.raises(ProjectMismatchError, match="running for another project"):
            use()


@dataclass(frozen=True)
class Started:
    """A run that cannot succeed, and the state of the stack before it."""

    run: Run
    before: object


@pytest.fixture(scope="module")
def rollback(demo: RunningStack) -> Started:
    """A rollback without a previous model."""
    served = ServingState(demo.stack.settings.serving_dir).served()
    return Started(demo.client.trigger("churn_rollback", None, {}), served)


@pytest.fixture(scope="module")
def ingest_without_files(demo: RunningStack) -> Started:
    """An ingest of a day without files."""
    days = bronze_days(demo.stack.settings)
    return Started(demo.client.trigger("churn_ingest", str(NO_FILES), {"to_day": str(NO_FILES)}), days)


@pytest.mark.usefixtures("rollback", "ingest_without_files")
def test_a_parallel_backfill_equals_daily_runs(demo: RunningStack, tmp_path: Path) -> None:
    settings = demo.stack.settings
    daily = settings.model_copy(update={"lake_uri": str(tmp_path / "lake"), "reports_dir": tmp_path / "reports"})
    shutil.copytree(settings.lake_uri, daily.lake_uri)
    command = ["bin/airflow", "backfill", "create", "--dag-id", "churn_ingest", "--max-active-runs", "2"]
    done = demo.run(*command, "--from-date", str(BACKFILL.first), "--to-date", str(BACKFILL.last))
    assert done.returncode == 0, done.stdout + done.stderr
    demo.wait_for_days(BACKFILL, "churn_score")
    for day in BACKFILL:
        ingest_days(daily, DayRange.single(day))
    found = compare_lakes(daily, settings, DayRange(HISTORY.first, BACKFILL.last))
    # churn_score, churn_monitor and the failed runs of other tests write them
    not_ingested = {SCORES_TABLE, PREDICTIONS_TABLE, MESSAGES_TABLE}
    assert [item for item in found if (item.lost or item.doubled) and item.table not in not_ingested] == []
    assert set(BACKFILL) <= set(open_lake(settings).table(SCORES_TABLE).days())


def test_a_rollback_without_a_previous_model_fails_and_changes_nothing(demo: RunningStack, rollback: Started) -> None:
    demo.wait_for(rollback.run, state="failed")
    assert rollback.before is not None
    assert ServingState(demo.stack.settings.serving_dir).served() == rollback.before


def test_a_missing_file_fails_the_run_and_writes_no_bronze(demo: RunningStack, ingest_without_files: Started) -> None:
    run = ingest_without_files.run
    demo.wait_for(run, state="failed")
    tasks = demo.client.snapshot(run.created).tasks
    found = [task for task in tasks if task.run_id == run.run_id and task.state == "failed"]
    assert [(task.task_id, task.attempt) for task in found] == [("audit_sources", 1)], "the task must not be retried"
    log = demo.client.task_log_tail(found[0], 60)
    assert any(str(NO_FILES) in line and "not delivered" in line for line in log)
    assert isinstance(ingest_without_files.before, dict)
    for table, days in bronze_days(demo.stack.settings).items():
        assert days - set(BACKFILL) == ingest_without_files.before[table] - set(BACKFILL)
    wait_until(lambda: len(messages(demo.stack.settings, run)) == 1, 60)
    (message,) = messages(demo.stack.settings, run)
    assert f"not delivered. Where: {demo.stack.settings.landing_uri}" in message


def messages(settings: Settings, run: Run) -> list[str]:
    """Return the messages about a run in the log of the DAG processor."""
    files = (settings.home / "airflow").rglob("dag_processor/2*/**/*.log")
    return [
        line for file in files for line in file.read_text().splitlines() if "Message: " in line and run.run_id in line
    ]


def bronze_days(settings: Settings) -> dict[str, set[dt.date]]:
    lake = open_lake(settings)
    return {name: set(lake.table(name).days()) for name in lake.table_names() if name.startswith("bronze")}
