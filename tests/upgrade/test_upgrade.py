"""A deployment of release 0.1.0 works after ``python -m include.upgrade``, and is refused before."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from benchmarks.erasure_world import ingest
from include.backup.create import create
from include.days import DayRange
from include.errors import ChurnflowError
from include.features.labels import build_labels
from include.ingest import refine
from include.lake import Lake, open_lake
from include.lake.table import OutdatedTableError
from include.monitoring.monitor_day import monitor_day
from include.privacy.erase import erase
from include.retention.retention_list import score_day
from include.serving.deployment import deploy
from include.serving.deployment.bento_store import load_model
from include.serving.deployment.state import BentoReference, open_state
from include.serving.online_store import open_store
from include.serving.online_store.update import update_store
from include.serving.prediction_log.collect import collect_predictions
from include.settings import ROOT, Settings
from include.training.data.build import prepare_dataset
from include.training.data.dataset import dataset_dir
from include.training.model.bundle import BundleError
from include.training.model.reference_profile import read_profile
from include.training.release.registry import Registry
from include.training.train import train_challenger
from include.upgrade.steps import pending_steps
from include.versions.repository import open_repository
from include.versions.snapshot import version_dataset
from tests.upgrade.releases.small_project import small_project
from tests.upgrade.stored import restore
from tests.world import write_day, write_references

DAYS = DayRange.parse("2017-01-01", "2017-03-05")
LAST = DAYS.last
RECORD = ROOT / "tests/upgrade/releases/0.1.0.json"
WEEK_LATER = DayRange(LAST + dt.timedelta(days=1), LAST + dt.timedelta(days=7))
COMPUTED = ("silver/", "quarantine/", "gold/features", "gold/labels", "gold/_days", "gold/_label_days")


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A deployment of release 0.1.0, which no test changes."""
    return restore(RECORD, tmp_path_factory.mktemp("old"))


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = restore(RECORD, tmp_path_factory.mktemp("upgraded"))
    for step in pending_steps(settings, small_project()):
        step.run()
    return settings


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A deployment whose upgrade was killed after each step, and repeated."""
    settings = restore(RECORD, tmp_path_factory.mktemp("killed"))
    subprocess.run([sys.executable, "-m", "tests.upgrade.killed", settings.home], cwd=ROOT, check=True)
    return settings


COMMANDS: dict[str, Callable[[Settings], object]] = {
    "ingest": lambda settings: ingest(settings, small_project(), WEEK_LATER),
    "data set": lambda settings: prepare_dataset(small_project(), open_lake(settings), LAST, settings.home / "none"),
    "score": lambda settings: score_day(LAST, settings),
    "online store": lambda settings: update_store(LAST, settings),
    "request": lambda settings: asyncio.run(open_store(settings).get("1")),
    "collect": collect_predictions,
    "monitor": lambda settings: monitor_day(small_project(), settings, LAST),
    "deploy": lambda settings: deploy.day_to_score(None, settings),
    "rollback": lambda settings: deploy.roll_back(None, settings),
    "serve": lambda settings: open_state(settings).desired(),
    "erase": lambda settings: erase(settings, "3", dt.datetime(2017, 3, 6, tzinfo=dt.UTC), dry_run=True),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_before_the_upgrade_names_it(old: Settings, command: str) -> None:
    deliver_week(old)
    with pytest.raises(ChurnflowError, match=r"python -m include\.upgrade"):
        COMMANDS[command](old)


def test_dry_run_prints_the_steps_and_changes_no_byte(old: Settings) -> None:
    before = checksums(old.home)
    done = subprocess.run(
        [sys.executable, "-m", "include.upgrade", "--dry-run"],
        cwd=ROOT,
        env=os.environ | {"CHURN_HOME": str(old.home), "CHURN_MLFLOW__TRACKING_URI": old.mlflow.tracking_uri},
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line[:3] for line in done.stdout.splitlines()] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    assert "built again from bronze, 2017-01-01 to 2017-03-05" in done.stdout
    assert checksums(old.home) == before


def test_nothing_is_pending_after_an_upgrade(upgraded: Settings) -> None:
    assert pending_steps(upgraded, small_project()) == []


def test_silver_and_gold_equal_those_of_this_release(upgraded: Settings, tmp_path: Path) -> None:
    lake, fresh, project = open_lake(upgraded), Lake(str(tmp_path / "lake")), small_project()
    for name in lake.table_names():
        if name.startswith("bronze/"):
            shutil.copytree(lake.table(name).uri, fresh.table(name).uri)
    refine(project, fresh, DAYS, tmp_path / "reports")
    build_labels(project, fresh, DAYS)
    computed = [name for name in fresh.table_names() if name.startswith(COMPUTED)]
    assert "quarantine/coupon_redemptions" in computed
    for name in computed:
        assert sorted_rows(lake, name) == sorted_rows(fresh, name), name


def test_dates_that_0_1_0_read_wrongly_are_in_quarantine(old: Settings, upgraded: Settings) -> None:
    def first(settings: Settings) -> dt.date:
        coupons = open_lake(settings, any_format=True).table("silver/coupon_redemptions")
        return pc.min(coupons.read(DAYS)["redemption_date"]).as_py()

    assert (first(old), first(upgraded)) == (dt.date(17, 1, 5), dt.date(2017, 1, 5))


def test_lists_and_predictions_are_kept(old: Settings, upgraded: Settings) -> None:
    before, after = open_lake(old, any_format=True), open_lake(upgraded)
    assert sorted_rows(before, "gold/scores") == sorted_rows(after, "gold/scores")
    collected, rows = sorted_rows(before, "gold/predictions"), after.table("gold/predictions").read([LAST])
    assert (len(collected), rows.num_rows, len(pc.unique(rows["part"]))) == (14, 42, 3)
    assert sorted((row for row in rows.to_pylist() if row["part"] == collected[0]["part"]), key=str) == collected
    assert not list(upgraded.home.rglob("*.arrows"))


def test_models_serve_with_their_recorded_predictions(upgraded: Settings) -> None:
    state, registry = open_state(upgraded), Registry(upgraded)
    served, former = state.served(), state.previous()
    assert served is not None
    assert former is not None
    assert (served.model_version, former.model_version) == ("2", "1")
    assert registry.require("champion") == "2"
    for bento in (served, former):
        bundle = load_model(bento, upgraded)
        rows = pa.Table.from_pylist([sample.features for sample in bundle.samples])
        recorded = [sample.churn_probability for sample in bundle.samples]
        assert bundle.predict(rows).tolist() == pytest.approx(recorded, abs=1e-6)
        assert set(read_profile(bundle).features) >= {"days_since_purchase", "churn_probability"}
    assert deploy.smoke(served.as_dict(), upgraded)["rows"] == len(bundle.samples)


def test_registry_keeps_its_bundles(old: Settings) -> None:
    bundle = Registry(old).bundle("1")
    assert bundle.contract.evaluation is None
    with pytest.raises(BundleError, match="no reference profile"):
        read_profile(bundle)


def test_upgrade_that_was_killed_after_each_step_is_complete(killed: Settings, upgraded: Settings) -> None:
    assert pending_steps(killed, small_project()) == []
    state = open_state(killed)
    assert [bento and bento.model_version for bento in (state.previous(), state.served())] == ["1", "2"]
    lake, expected = open_lake(killed), open_lake(upgraded)
    assert lake.table_names() == expected.table_names()
    for name in expected.table_names():
        assert sorted_rows(lake, name) == sorted_rows(expected, name), name


def test_collected_part_is_not_added_again(tmp_path: Path) -> None:
    settings = restore(RECORD, tmp_path)
    part = next(path for path in tmp_path.rglob("*.arrows") if "spool" in str(path))
    content = part.read_bytes()
    collect_step(settings)
    rows = sorted_rows(open_lake(settings, any_format=True), "gold/predictions")
    part.write_bytes(content)  # as after a kill between the write to the lake and the deletion
    collect_step(settings)
    assert sorted_rows(open_lake(settings, any_format=True), "gold/predictions") == rows
    assert not part.exists()


def test_damaged_part_stops_the_upgrade(tmp_path: Path) -> None:
    settings = restore(RECORD, tmp_path)
    part = next(tmp_path.rglob("*.arrows"))
    part.write_bytes(b"damaged")
    with pytest.raises(ChurnflowError, match="is damaged") as caught:
        collect_step(settings)
    assert caught.value.where == str(part)


def test_table_of_a_later_release_is_refused(tmp_path: Path) -> None:
    table = Lake(str(tmp_path)).table("gold/scores")
    rows = pa.table({"dt": pa.array([LAST]), "rank": [1]})
    table.replace([LAST], rows)
    assert table.has_format()
    DeltaTable(table.uri).alter.set_table_description("churnflow format 3")
    with pytest.raises(OutdatedTableError, match="churnflow format 3; this release reads churnflow format 2"):
        table.read([LAST])
    with pytest.raises(OutdatedTableError):
        table.replace([LAST], rows)


# The last test, since it changes the deployment.
def test_pipeline_continues(killed: Settings, tmp_path: Path) -> None:
    settings, project = killed, small_project()
    deliver_week(settings)
    day = WEEK_LATER.last
    ingest(settings, project, WEEK_LATER)
    assert score_day(day, settings).rows_written > 0
    assert update_store(day, settings).newest > 0
    assert monitor_day(project, settings, day)["model_version"] == "2"
    lake, folder = open_lake(settings), dataset_dir(settings, day)
    prepare_dataset(project, lake, day, folder)
    version_dataset(project, lake, open_repository(settings), folder)
    trained = train_challenger(settings, folder)
    assert trained.model_version == "3"
    state = open_state(settings)
    state.commit(state.begin(BentoReference(**deploy.build("3", settings))))
    former = state.previous()
    assert former is not None
    assert former.model_version == "2"
    made = create(settings, tmp_path / "backup", dt.datetime(2017, 3, 13, tzinfo=dt.UTC))
    assert made.manifest.tables["gold/features"] == lake.table("gold/features").version()
    erasure, _ = erase(settings, "3", dt.datetime(2017, 3, 13, tzinfo=dt.UTC))
    assert erasure.finished
    assert "3" not in lake.table("gold/predictions").read([LAST])["customer_id"].to_pylist()


def deliver_week(settings: Settings) -> None:
    landing = Path(settings.landing_uri) / settings.project
    write_references(landing, WEEK_LATER.first)
    for day in WEEK_LATER:
        write_day(landing, day)


def collect_step(settings: Settings) -> None:
    next(step for step in pending_steps(settings, small_project()) if step.what.startswith("prediction log")).run()


def sorted_rows(lake: Lake, name: str) -> list[dict[str, object]]:
    table = lake.table(name)
    return sorted(table.read(table.days()).to_pylist(), key=str)


def checksums(home: Path) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(home.rglob("*")) if path.is_file()
    }
