"""The whole chain through a real scheduler, on a slice of the real data: ingest, train, deploy, score, monitor."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import mlflow
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from benchmarks.ingest_runs import compare_lakes
from benchmarks.traffic import Traffic
from include.days import DayRange
from include.ingest import ingest_days
from include.lake import connect, open_lake
from include.lake.table_names import FEATURES_TABLE, PREDICTIONS_TABLE, SCORES_TABLE
from include.serving.deployment.pointer import BentoReference, read_pointer
from include.serving.prediction_log.collect import collect_predictions
from include.settings import Settings
from include.training.release.registry import Registry
from local.client import Run
from local.demo import Demo
from local.grocery_export import export
from local.summary import collect
from local.supervision import wait_until
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
    assert summary["rows"][SCORES_TABLE] > 500
    assert 0 <= summary["prediction"]["churn_probability"] <= 1
    assert summary["prediction"]["prediction"] in ("churn", "retain")
    assert (stack.stack.settings.reports_dir / "drift" / str(HISTORY.last) / "index.html").exists()


def test_the_endpoint_gives_the_scores_of_the_list_by_features_and_by_id(stack: RunningStack, loaded: Demo) -> None:
    settings = stack.stack.settings
    lake, day = open_lake(settings), HISTORY.last
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
    end = time.monotonic() + 1800
    while not set(BACKFILL) <= set(lake.table(SCORES_TABLE).days()) and time.monotonic() < end:
        time.sleep(2)
    assert set(BACKFILL) <= set(lake.table(SCORES_TABLE).days())
    for day in BACKFILL:
        ingest_days(daily, DayRange.single(day))
    found = compare_lakes(daily, settings, DayRange(HISTORY.first, BACKFILL.last))
    not_ingested = {SCORES_TABLE, PREDICTIONS_TABLE}  # churn_score and churn_monitor write them
    assert [item for item in found if (item.lost or item.doubled) and item.table not in not_ingested] == []


@dataclass(frozen=True)
class Failed:
    """Two runs that could not succeed, and what there was before them."""

    ingest: Run
    rollback: Run
    bronze: dict[str, int]
    served: BentoReference | None


@pytest.fixture(scope="module")
def failed(stack: RunningStack, loaded: Demo) -> Failed:
    """Both together, since each waits for its second try."""
    settings = stack.stack.settings
    bronze, served = bronze_versions(settings), read_pointer(settings.serving_dir)
    ingest = stack.client.trigger("churn_ingest", "2018-06-01", {"to_day": "2018-06-01"})
    rollback = stack.client.trigger("churn_rollback", None, {})
    assert [state_at_the_end(stack, run) for run in (ingest, rollback)] == ["failed", "failed"]
    return Failed(ingest, rollback, bronze, served)


def test_a_missing_file_stops_the_run_and_earlier_days_stay(stack: RunningStack, failed: Failed) -> None:
    tasks = stack.client.snapshot(failed.ingest.created).tasks
    found = [task for task in tasks if task.run_id == failed.ingest.run_id and task.state == "failed"]
    assert [task.task_id for task in found] == ["audit_sources"]
    assert any("2018-06-01" in line and "not delivered" in line for line in stack.client.task_log_tail(found[0], 60))
    assert bronze_versions(stack.stack.settings) == failed.bronze


def test_rolling_back_without_a_previous_model_changes_nothing(stack: RunningStack, failed: Failed) -> None:
    assert failed.served is not None
    assert read_pointer(stack.stack.settings.serving_dir) == failed.served


def test_another_version_serves_is_rolled_back_and_goes_on_in_the_shadow_under_traffic(
    stack: RunningStack, loaded: Demo
) -> None:
    settings = stack.stack.settings
    registry = Registry(settings)
    first = registry.require("champion")
    known = mlflow.MlflowClient(settings.mlflow.tracking_uri).get_model_version(registry.name, first)
    second = registry.register(known.source, known.run_id, {})
    bundles = {version: registry.bundle(version) for version in (first, second)}
    with Traffic(settings.serving.url, bundles, clients=4) as traffic:
        day = str(HISTORY.last)
        deployed = stack.client.trigger("churn_deploy", day, {"day": day, "model_version": second})
        assert state_at_the_end(stack, deployed) == "success"
        traffic.wait_for_answers(20)
        assert read_pointer(settings.serving_dir).model_version == second
        registry.restore_champion(second)
        assert state_at_the_end(stack, stack.client.trigger("churn_rollback", None, {})) == "success"
        traffic.wait_for_answers(20)
        shadow = {"day": day, "model_version": second, "role": "shadow"}
        assert state_at_the_end(stack, stack.client.trigger("churn_deploy", day, shadow)) == "success"
        traffic.wait_for_answers(20)
        assert wait_until(lambda: (first, second) in served_and_shadow(settings), 60)
    assert (dict(traffic.errors), dict(traffic.dropped)) == ({}, {})
    assert min(traffic.answers[version] for version in (first, second)) > 0
    assert read_pointer(settings.serving_dir).model_version == first
    assert (registry.version_of("champion"), registry.version_of("previous")) == (first, second)


def bronze_versions(settings: Settings) -> dict[str, int]:
    lake = open_lake(settings)
    return {name: lake.table(name).version() for name in lake.table_names() if name.startswith("bronze")}


def served_and_shadow(settings: Settings) -> set[tuple[str, str | None]]:
    """Return which versions have answered, each with the one that scored the same rows in its shadow."""
    collect_predictions(settings)
    table = open_lake(settings).table(PREDICTIONS_TABLE)
    rows = table.scan(connect(), table.days()).select("model_version", "shadow_version").distinct().to_pyarrow()
    return {(row["model_version"], row["shadow_version"]) for row in rows.to_pylist()}


def state_at_the_end(stack: RunningStack, run: Run, seconds: float = 300) -> str:
    end = time.monotonic() + seconds
    state = run.state
    while state not in ("failed", "success") and time.monotonic() < end:
        time.sleep(1)
        state = next(item.state for item in stack.client.snapshot(run.created).runs if item.run_id == run.run_id)
    return state
