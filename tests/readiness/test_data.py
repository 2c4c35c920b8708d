"""Gate 1: each check reads an audit, the lake, the remote of the data versions, or the project."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from include.days import DayRange
from include.lake.table_names import FEATURES_TABLE, SILVER_DAYS_TABLE, quarantine_table, silver_table
from include.quality.silver_days import record_loaded_days
from include.readiness.system import System
from include.sources.audit import audit_sources
from include.sources.connections import Connections
from include.training.release.registry import RegistryError
from include.versions.repository import VersionError, open_repository
from include.versions.snapshot import create_version
from tests.readiness.conftest import NOW, examine, register, with_project
from tests.training.gold import snapshot_days, write_gold
from tests.versions.conftest import WEEK
from tests.versions.world import load


@pytest.fixture
def audited(system: System, landing: Path) -> System:
    folder = system.settings.reports_dir / "audit"
    audit_sources(system.project, system.lake, Connections(str(landing)), WEEK, folder)
    return system


def test_audit_of_all_sources_documents_them(audited: System) -> None:
    found = examine(audited, "sources_documented")
    assert found.passed, found.text
    assert found.figure == "5 of 5 sources"
    assert found.link == "audit/2017-01-07/audit.html"
    assert found.time is not None
    assert abs(found.time - NOW) < dt.timedelta(minutes=10)


def test_source_that_was_not_audited_is_not_documented(audited: System, system: System) -> None:
    sources = audited.project.sources
    added = with_project(audited, sources=sources | {"calls": sources["transactions"]})
    found = examine(added, "sources_documented")
    assert not found.passed
    assert "calls (not audited)" in found.text


def test_without_an_audit_no_source_is_documented(system: System) -> None:
    assert not examine(system, "sources_documented").passed


def write_rows(system: System, passed: int, refused: int) -> None:
    """Write rows of one source on one ingested day to silver and quarantine."""
    day = WEEK.first
    for table, rows in ((silver_table("transactions"), passed), (quarantine_table("transactions"), refused)):
        content = pa.table({"dt": pa.array([day] * rows, pa.date32()), "household_id": list(range(rows))})
        system.lake.table(table).replace(DayRange.single(day), content)
    record_loaded_days(system.lake, {"transactions": {day}}, DayRange.single(day))


@pytest.mark.parametrize(("passed", "refused", "enough"), [(992, 8, True), (990, 10, False)])
def test_more_than_99_percent_of_the_ingested_rows_must_pass(
    system: System, passed: int, refused: int, enough: bool
) -> None:
    write_rows(system, passed, refused)
    found = examine(system, "data_validation")
    assert found.passed is enough, found.text
    assert f"{passed} of 1,000 rows" in found.text
    assert found.time == system.lake.table(SILVER_DAYS_TABLE).written_at()


def test_without_an_ingest_no_row_has_passed(system: System) -> None:
    assert not examine(system, "data_validation").passed


def test_data_version_passes_while_the_remote_has_all_its_files(system: System, landing: Path) -> None:
    load(system.project, system.lake, landing, WEEK)
    repository = open_repository(system.settings)
    version = create_version(system.project, system.lake, repository, WEEK.last)
    register(system, tags={"dvc.revision": version.revision})
    with pytest.raises(VersionError, match="cannot be read"):
        examine(system, "data_versioned")
    repository.push(version.revision)
    found = examine(system, "data_versioned")
    assert found.passed
    assert version.revision in found.text
    stored = sorted(path for path in Path(repository.remote).rglob("*") if path.is_file() and path.suffix != ".dir")
    stored[0].unlink()
    found = examine(system, "data_versioned")
    assert not found.passed
    assert "lacks 1 file" in found.text


def test_training_without_a_data_version_fails(system: System) -> None:
    with pytest.raises(RegistryError, match="No version has the alias 'challenger'"):
        examine(system, "data_versioned")
    register(system)
    assert "recorded no data version" in examine(system, "data_versioned").text


def test_gold_passes_while_its_newest_day_has_the_present_definitions(system: System) -> None:
    assert not examine(system, "feature_store").passed
    write_gold(system.lake, system.project, snapshot_days(system.project, 2), 30)
    found = examine(system, "feature_store")
    assert found.passed, found.text
    assert found.figure == "30 rows"
    assert found.time == system.lake.table(FEATURES_TABLE).written_at()
    changed = examine(with_project(system, timezone="Europe/Berlin"), "feature_store")
    assert not changed.passed
    assert "days_since_purchase" in changed.text


def test_requirements_need_limits_that_are_checked(system: System) -> None:
    found = examine(system, "model_requirements")
    assert found.passed
    assert "precision 0.7" in found.text
    requirements = system.project.requirements
    metrics = requirements.metrics.model_copy(update={"mode": "disabled"})
    unchecked = with_project(system, requirements=requirements.model_copy(update={"metrics": metrics}))
    assert not examine(unchecked, "model_requirements").passed
