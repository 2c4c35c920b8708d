"""Retention periods: what is older than its period is deleted, and what later days read is kept."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from include.days import DayRange
from include.lake import Lake, LakeError, open_lake
from include.lake.maintenance import compact
from include.lake.table import FORMAT
from include.lake.table_names import FEATURES_TABLE, GOLD_DAYS_TABLE, PREDICTIONS_TABLE, SCORES_TABLE
from include.monitoring.source_rows import read_source_rows
from include.privacy.periods import apply_periods, compact_tables, delete_lineage_events
from include.projects import Project
from include.projects.keep_days import check_keep_days, longest_event_window, shortest_periods
from include.provenance.signature import sign
from include.provenance.statement import PROVENANCE_FILE, Provenance
from include.settings import Settings
from include.settings.groups import TaskSettings
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from include.sources.kept_days import RemovedDaysError, first_kept
from include.versions.erasure import erase_from_versions
from include.versions.expiry import delete_versions
from include.versions.repository import Repository, VersionError, open_repository
from include.versions.snapshot import create_version
from tests.versions.world import load, short_project
from tests.world import ingest, write_world

DAY = dt.timedelta(days=1)
FIRST, LAST = dt.date(2017, 1, 1), dt.date(2017, 1, 10)


def with_periods(**days: int) -> Project:
    return Project.model_validate(short_project().model_dump() | {"keep_days": days})


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of a deployment with ten days in bronze and silver, and with one row of each kind in gold."""
    home = tmp_path_factory.mktemp("periods")
    settings, landing = Settings(home=home), home / "landing" / "grocery"
    write_world(landing, DayRange(FIRST, LAST))
    lake = open_lake(settings)
    ingest(short_project(), lake, landing, DayRange(FIRST, LAST), home / "other")
    for name in (FEATURES_TABLE, GOLD_DAYS_TABLE, SCORES_TABLE, PREDICTIONS_TABLE):
        days = list(DayRange(FIRST, LAST))
        lake.table(name).replace(days, pa.table({"dt": pa.array(days, pa.date32()), "customer_id": ["a"] * len(days)}))
    for kind in ("audit", "quality", "monitoring"):
        for day in (FIRST, LAST):
            (settings.reports_dir / kind / str(day)).mkdir(parents=True, exist_ok=True)
    for folder in ("model/3", "model/2017-01-01"):
        (settings.reports_dir / folder).mkdir(parents=True)
    for day in (FIRST, FIRST + DAY, FIRST + 2 * DAY):
        (home / "training" / "grocery" / str(day)).mkdir(parents=True)
    return home


@pytest.fixture
def settings(ingested: Path, tmp_path: Path) -> Settings:
    """A copy of the deployment."""
    return Settings(home=Path(shutil.copytree(ingested, tmp_path / "home")))


def days_of(settings: Settings, table: str) -> tuple[dt.date, int]:
    days = open_lake(settings).table(table).days()
    return days[0], len(days)


def test_nothing_is_deleted_without_periods(settings: Settings) -> None:
    assert apply_periods(with_periods(), settings) == {}
    assert first_kept(open_lake(settings)) is None


def test_days_before_the_period_are_deleted(settings: Settings) -> None:
    project = with_periods(bronze=7, silver=5, features=6, scores=3, predictions=10, quarantine=4)
    removed = apply_periods(project, settings)
    # Three days of transactions and one of campaigns in bronze, five of transactions and two of others in silver.
    assert removed == {"bronze": 4, "silver": 7, "quarantine": 0, "features": 8, "scores": 7, "predictions": 0}
    assert days_of(settings, "bronze/transactions") == (dt.date(2017, 1, 4), 7)
    assert days_of(settings, "silver/transactions") == (dt.date(2017, 1, 6), 5)
    assert days_of(settings, FEATURES_TABLE) == days_of(settings, GOLD_DAYS_TABLE) == (dt.date(2017, 1, 5), 6)
    assert days_of(settings, SCORES_TABLE) == (dt.date(2017, 1, 8), 3)
    assert days_of(settings, PREDICTIONS_TABLE) == (FIRST, 10)
    assert apply_periods(project, settings) == dict.fromkeys(removed, 0)


def test_valid_deliveries_of_reference_sources_are_kept(settings: Settings) -> None:
    landing = settings.home / "landing" / "grocery"
    project = with_periods(landing=5, silver=5)
    removed = apply_periods(project, settings)
    assert removed["landing"] == 3 * 5  # the files of three sources of events
    assert open_lake(settings).table("silver/products").days() == [FIRST]
    assert sorted(path.name for path in (landing / "products").iterdir()) == [f"{FIRST}.csv"]
    for day in (FIRST + DAY, FIRST + 2 * DAY):
        (landing / "products" / f"{day}.csv").write_bytes((landing / "products" / f"{FIRST}.csv").read_bytes())
    assert apply_periods(project, settings)["landing"] == 2
    assert sorted(path.name for path in (landing / "products").iterdir()) == [f"{FIRST + 2 * DAY}.csv"]


def test_files_and_folders_are_deleted_by_their_day(settings: Settings) -> None:
    assert apply_periods(with_periods(reports=5, datasets=1), settings) == {"reports": 3, "datasets": 2}
    left = sorted(str(path.relative_to(settings.home)) for path in settings.home.glob("reports/*/*/*"))
    kept = [f"reports/grocery/{kind}/{LAST}" for kind in ("audit", "monitoring", "quality")]
    assert [path for path in left if "model" not in path] == kept
    assert [path for path in left if "model" in path] == [
        f"reports/grocery/model/{name}" for name in ("2017-01-01", "3")
    ]
    assert [path.name for path in settings.home.glob("training/grocery/*")] == [str(FIRST + 2 * DAY)], "the newest"


def test_removed_days_and_days_that_read_them_cannot_be_ingested(settings: Settings) -> None:
    project = with_periods(bronze=8, silver=5)
    apply_periods(project, settings)
    lake, connections = open_lake(settings), Connections.from_settings(settings)
    assert first_kept(lake) == dt.date(2017, 1, 6)
    window = longest_event_window(project)
    before = {name: lake.table(name).version() for name in lake.table_names()}
    for day in (FIRST, dt.date(2017, 1, 6) + (window - 2) * DAY):
        with pytest.raises(RemovedDaysError, match=r"before 2017-01-06 were removed.*cannot be ingested"):
            load_bronze(project, lake, connections, DayRange.single(day))
    assert {name: lake.table(name).version() for name in lake.table_names()} == before
    later = DayRange.single(dt.date(2017, 1, 6) + (window - 1) * DAY)
    write_world(Path(settings.landing_uri) / "grocery", later)
    load_bronze(project, lake, connections, later)


def test_removed_days_are_no_missing_rows_for_the_health_of_sources(settings: Settings) -> None:
    apply_periods(with_periods(silver=5), settings)
    found = read_source_rows(open_lake(settings), short_project(), LAST)["transactions"]
    assert found.loaded.tolist() == [False] * 5 + [True] * 5


def test_old_lineage_events_are_deleted(tmp_path: Path) -> None:
    settings, now = (
        Settings(home=tmp_path, tasks=TaskSettings(lineage_days=30)),
        dt.datetime(2026, 6, 30, tzinfo=dt.UTC),
    )
    settings.lineage_dir.mkdir(parents=True)
    for age in (29, 31):
        event = settings.lineage_dir / f"event-{age}.json"
        event.touch()
        os.utime(event, times=(stamp := (now - age * DAY).timestamp(), stamp))
    assert delete_lineage_events(settings, now) == 1
    assert [path.name for path in settings.lineage_dir.iterdir()] == ["event-29.json"]


def test_compaction_keeps_days_rows_and_their_order(tmp_path: Path) -> None:
    table = Lake(str(tmp_path)).table("silver/x")
    days = list(DayRange(FIRST, FIRST + 2 * DAY))
    for number in range(3):
        rows = {"dt": pa.array([*days, *days], pa.date32()), "row": [number * 10 + row for row in (0, 0, 0, 1, 1, 1)]}
        write_deltalake(table.uri, pa.table(rows), mode="append", partition_by=["dt"], description=FORMAT)
    before, untouched = table.read(days).sort_by([("dt", "ascending"), ("row", "ascending")]), table.partitions()
    assert compact(table) == (9, 0)
    assert compact(table) == (0, 0)
    assert table.read(days).sort_by([("dt", "ascending"), ("row", "ascending")]).equals(before)
    assert {day: len(files) for day, files in table.partitions().items()} == dict.fromkeys(days, 1)
    assert table.partitions().keys() == untouched.keys()
    table.replace([FIRST], before.slice(0, 1))
    assert table.row_counts(days)[FIRST] == 1


def test_version_whose_files_were_deleted_is_a_clear_error(settings: Settings) -> None:
    lake = open_lake(settings)
    table = lake.table(FEATURES_TABLE)
    version = table.version()
    table.replace([LAST], table.read([FIRST]).slice(0, 0))
    compact_tables(settings)
    assert len(lake.at({FEATURES_TABLE: version}).table(FEATURES_TABLE).read([LAST])) == 1, "kept for a week"
    DeltaTable(table.uri).vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(LakeError, match=f"no version {version}, or no longer has its files"):
        lake.at({FEATURES_TABLE: version}).table(FEATURES_TABLE).read([LAST])


def test_old_versions_of_raw_data_are_deleted(tmp_path: Path) -> None:
    write_world(tmp_path / "landing", DayRange(FIRST, LAST))
    project, lake = short_project(), Lake(str(tmp_path / "lake"))
    repository = Repository(tmp_path / "versions" / "grocery", str(tmp_path / "versions" / "remote"))
    revisions = {}
    for last in (dt.date(2017, 1, 3), dt.date(2017, 1, 6), LAST):
        load(project, lake, tmp_path / "landing", DayRange(FIRST, last))
        revisions[last] = create_version(project, lake, repository, last).revision
        repository.push(revisions[last])
    oldest, middle, newest = revisions.values()
    assert delete_versions(repository, dt.date(2018, 1, 1), {oldest}) == [middle]
    assert [version.revision for version in repository.versions()] == [oldest, newest]
    assert delete_versions(repository, dt.date(2018, 1, 1), set()) == [oldest]
    pulled = repository.pull(newest, tmp_path / "pulled")
    assert sorted(path.stem for path in (pulled / "transactions").iterdir()) == [
        str(day) for day in DayRange(FIRST, LAST)
    ]
    with pytest.raises(VersionError):
        repository.pull(middle, tmp_path / "other")


def test_version_of_a_packaged_model_is_kept(settings: Settings) -> None:
    project, lake, repository = short_project(), open_lake(settings), open_repository(settings)
    packaged, unused, _ = [
        create_version(project, lake, repository, day).revision for day in (FIRST, FIRST + DAY, LAST)
    ]
    bento = settings.serving_dir / "bentos" / "bentos" / "churn" / "1-abc"
    bento.mkdir(parents=True)
    (bento / "bento.yaml").write_text("name: churn")
    provenance = Provenance("grocery", "run-1", "1").with_link("data", {"revision": packaged})
    (bento / PROVENANCE_FILE).write_text(sign(provenance.with_link("bento", {"bento.yaml": "0"}).as_statement(), None))
    erase_from_versions(project, repository, "7".__eq__, None, dry_run=False)
    assert apply_periods(with_periods(versions=1), settings) == {"versions": 1}
    left = [version.revision for version in repository.versions()]
    assert repository.current(packaged) in left
    assert repository.current(unused) not in left


@pytest.mark.parametrize("name", list(shortest_periods(short_project())))
def test_shortest_periods_are_checked(name: str) -> None:
    project = short_project()
    shortest, _ = shortest_periods(project)[name]
    assert list(check_keep_days(with_periods(**{name: shortest}))) == []
    ((found, problem),) = check_keep_days(with_periods(**{name: shortest - 1}))
    assert found == name
    assert f"at least {shortest} days" in problem


def test_invalid_periods_are_refused() -> None:
    invalid: list[dict[str, Any]] = [{"silver": 0}, {"gold": 10}, {"silver": "ten"}]
    for days in invalid:
        with pytest.raises(ValueError, match="keep_days"):
            Project.model_validate(short_project().model_dump() | {"keep_days": days})
