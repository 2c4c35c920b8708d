"""The whole chain through a real scheduler, on a slice of the real data: ingest, train, deploy, score, monitor."""

import shutil
import time
from pathlib import Path

import httpx
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from benchmarks.ingest_runs import compare_lakes
from include.days import DayRange
from include.ingest import ingest_days
from include.lake import open_lake
from include.serving.pointer import read_pointer
from local.demo import Demo
from local.grocery_export import export
from local.summary import collect
from tests.e2e.conftest import RunningStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

HISTORY = DayRange.parse("2017-01-01", "2017-10-15")
BACKFILL = DayRange.parse("2017-10-16", "2017-10-19")


@pytest.fixture(scope="module")
def landing(stack: RunningStack) -> Path:
    """Every second household: half the work, and still enough rows for the project's requirements."""
    settings = stack.stack.settings
    folder = Path(settings.landing_uri) / settings.project
    export(folder, DayRange(HISTORY.first, BACKFILL.last))
    for path in folder.glob("transactions/*.parquet"):
        rows = pq.read_table(path)
        even = pc.equal(pc.bit_wise_and(rows["household_id"], 1), 0)
        pq.write_table(rows.filter(even), path)
    return folder


@pytest.fixture(scope="module")
def loaded(stack: RunningStack, landing: Path) -> Demo:
    demo = Demo(stack.client, Console(), time.monotonic() + 1200)
    demo.prepare()
    demo.run(HISTORY, ("churn_ingest", "churn_train", "churn_deploy", "churn_score", "churn_monitor"))
    return demo


def test_a_history_leads_to_a_served_and_monitored_model(stack: RunningStack, loaded: Demo) -> None:
    summary = collect(stack.stack, HISTORY.last).as_dict()
    assert 0.70 < summary["auc"] < 0.90, "far above the reference means that the future leaks in"
    assert summary["rows"]["gold/scores"] > 500
    assert 0 <= summary["prediction"]["churn_probability"] <= 1
    assert summary["prediction"]["prediction"] in ("churn", "retain")
    assert (stack.stack.settings.reports_dir / "drift" / str(HISTORY.last) / "index.html").exists()


def test_bad_input_is_refused_with_the_field_named(stack: RunningStack, loaded: Demo) -> None:
    answer = httpx.post(
        f"{stack.stack.settings.serving.url}/predict", json={"customer_id": "1", "features": {"baskets_7d": "many"}}
    )
    assert 400 <= answer.status_code < 500
    assert "baskets_7d" in answer.text


def test_a_backfill_of_four_days_at_a_time_equals_daily_runs(stack: RunningStack, loaded: Demo, tmp_path: Path) -> None:
    settings = stack.stack.settings
    daily = settings.model_copy(update={"lake_uri": str(tmp_path / "lake"), "reports_dir": tmp_path / "reports"})
    shutil.copytree(settings.lake_uri, daily.lake_uri)
    command = ["bin/airflow", "backfill", "create", "--dag-id", "churn_ingest", "--max-active-runs", "4"]
    done = stack.run(*command, "--from-date", str(BACKFILL.first), "--to-date", str(BACKFILL.last))
    assert done.returncode == 0, done.stdout + done.stderr
    lake = open_lake(settings)
    end = time.monotonic() + 900
    while not set(BACKFILL) <= set(lake.table("gold/scores").days()) and time.monotonic() < end:
        time.sleep(2)
    assert set(BACKFILL) <= set(lake.table("gold/scores").days())
    for day in BACKFILL:
        ingest_days(daily, DayRange.single(day))
    found = compare_lakes(daily, settings, DayRange(HISTORY.first, BACKFILL.last))
    scored = {"gold/scores"}  # only churn_score writes it
    assert [item for item in found if (item.lost or item.doubled) and item.table not in scored] == []


def test_a_missing_file_stops_the_run_and_earlier_days_stay(stack: RunningStack, loaded: Demo) -> None:
    lake = open_lake(stack.stack.settings)
    versions = {name: lake.table(name).version() for name in lake.table_names() if name.startswith("bronze")}
    run = stack.client.trigger("churn_ingest", "2018-06-01", {"to_day": "2018-06-01"})
    end = time.monotonic() + 300
    while time.monotonic() < end:
        tasks = [task for task in stack.client.snapshot(run.created).tasks if task.run_id == run.run_id]
        failed = [task for task in tasks if task.state == "failed"]
        if failed:
            break
        time.sleep(2)
    assert [task.task_id for task in failed] == ["audit_sources"]
    assert any("2018-06-01" in line and "not delivered" in line for line in stack.client.task_log_tail(failed[0], 60))
    assert {name: lake.table(name).version() for name in versions} == versions


def test_rolling_back_without_a_previous_model_changes_nothing(stack: RunningStack, loaded: Demo) -> None:
    served = read_pointer(stack.stack.settings.serving_dir)
    run = stack.client.trigger("churn_rollback", None, {})
    end = time.monotonic() + 300
    state = ""
    while state not in ("failed", "success") and time.monotonic() < end:
        state = next(item.state for item in stack.client.snapshot(run.created).runs if item.run_id == run.run_id)
        time.sleep(2)
    assert state == "failed"
    assert read_pointer(stack.stack.settings.serving_dir) == served
