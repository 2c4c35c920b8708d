"""All gates together: stale evidence, errors of checks, and the results as JSON, as a page and of the command."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from include.drills import RESTORE, DrillRecord, write_drill
from include.projects.readiness import CheckName, Readiness
from include.readiness import __main__ as command_module
from include.readiness import gates
from include.readiness.gates import GATES, check_readiness
from include.readiness.results import (
    CheckResult,
    ReadinessError,
    ReadinessResult,
    read_results,
    write_page,
    write_results,
)
from include.readiness.system import Evidence, System
from include.settings import ROOT, ProjectMismatchError, get_settings
from tests.readiness.conftest import NOW, with_project

HOSTILE = "<script>alert(1)</script>\"'"


def results_of(result: ReadinessResult) -> dict[CheckName, CheckResult]:
    return {check.name: check for gate in result.gates.values() for check in gate.checks}


def replace_checks(monkeypatch: pytest.MonkeyPatch, **checks: object) -> None:
    """Replace the functions of some checks of gate 1."""
    gate = GATES["1"]
    replaced = [replace(check, examine=checks.get(check.name, check.examine)) for check in gate.checks]  # type: ignore[arg-type]
    monkeypatch.setattr(gates, "GATES", {"1": replace(gate, checks=tuple(replaced))})


def test_every_name_in_readiness_yaml_is_a_check() -> None:
    assert tuple(check.name for gate in GATES.values() for check in gate.checks) == get_args(CheckName)


def test_new_deployment_fails_without_an_error_and_counts_only_what_is_there(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    result = check_readiness(system)
    assert result.counts() == {
        "1": {"passed": 1, "of": 7},
        "2": {"passed": 1, "of": 8},
        "3": {"passed": 2, "of": 7},
        "4": {"passed": 1, "of": 6},
    }
    assert not [record for record in caplog.records if record.levelname == "ERROR"]
    assert all(check.evidence for check in results_of(result).values())


def test_check_that_raises_fails_and_the_others_are_carried_out(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(system: System) -> Evidence:
        raise RuntimeError("customer 4711")

    replace_checks(monkeypatch, sources_documented=broken)
    found = results_of(check_readiness(system))
    assert found["sources_documented"].state == "failed"
    assert "RuntimeError" in found["sources_documented"].evidence
    assert "4711" not in found["sources_documented"].evidence
    assert found["model_requirements"].state == "passed"


@pytest.mark.parametrize(
    ("rules", "age_days", "state"),
    [
        (Readiness(), 30, "passed"),
        (Readiness(), 31, "stale"),
        (Readiness(stale_after_days=5), 6, "stale"),
        (Readiness(stale_after_days=5, stale_after_days_by_check={"restore_drill": 60}), 6, "passed"),
        (Readiness(stale_after_days=60, stale_after_days_by_check={"restore_drill": 5}), 6, "stale"),
    ],
)
def test_evidence_older_than_the_period_of_the_project_is_stale(
    system: System, rules: Readiness, age_days: int, state: str
) -> None:
    made = system.now - dt.timedelta(days=age_days)
    write_drill(system.settings.home, DrillRecord(drill=RESTORE, carried_out=made, passed=True))
    result = check_readiness(with_project(system, readiness=rules))
    assert results_of(result)["restore_drill"].state == state
    assert result.gates["4"].passed == (2 if state == "passed" else 1)


def test_results_are_read_as_they_were_written(system: System) -> None:
    reports_dir = system.settings.reports_dir
    assert read_results(reports_dir) is None
    result = check_readiness(system)
    write_results(result, reports_dir)
    assert read_results(reports_dir) == result
    stored = reports_dir / "readiness" / "readiness.json"
    copy = reports_dir.with_name("other") / "readiness" / "readiness.json"
    copy.parent.mkdir(parents=True)
    copy.write_text(stored.read_text())
    with pytest.raises(ProjectMismatchError):
        read_results(reports_dir.with_name("other"))
    stored.write_text("{}")
    with pytest.raises(ReadinessError, match="python -m include"):
        read_results(reports_dir)


def test_page_shows_each_check_and_escapes_data(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = Evidence(True, HOSTILE, HOSTILE, NOW, "audit/2017-01-01/audit.html")
    elsewhere = Evidence(True, "text", "figure", NOW - dt.timedelta(days=99), "http://127.0.0.1:5000/#/models")
    replace_checks(monkeypatch, sources_documented=lambda _: hostile, data_validation=lambda _: elsewhere)
    page = write_page(check_readiness(system), system.settings.reports_dir).read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2
    assert 'href="../audit/2017-01-01/audit.html"' in page
    assert 'href="http://127.0.0.1:5000/#/models" target="_blank" rel="noopener"' in page
    assert '<span class="pill warn">stale</span>' in page
    assert all(check.title in page for check in GATES["1"].checks)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The variables of a new deployment of the grocery project."""
    for name in [name for name in os.environ if name.startswith("CHURN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    monkeypatch.setenv("CHURN_MLFLOW__TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("CHURN_SERVING__PORT", "1")
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
def test_command_prints_one_json_object_and_writes_the_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "include.readiness", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    (line,) = done.stdout.splitlines()
    printed = json.loads(line)["gates"]
    assert {number: (gate["passed"], gate["of"]) for number, gate in printed.items()} == {
        "1": (1, 7),
        "2": (1, 8),
        "3": (2, 7),
        "4": (1, 6),
    }
    assert printed["1"]["checks"][0].keys() >= {"name", "state", "evidence", "figure", "time", "link"}
    assert (tmp_path / "reports" / "grocery" / "readiness" / "index.html").is_file()


@pytest.mark.usefixtures("environment")
def test_command_prints_a_list_of_the_checks_with_the_evidence_of_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_module, "configure_json_logs", lambda: None)
    printed = CliRunner().invoke(command_module.app).stdout
    assert "Gate 4, operations: 1 of 6" in printed
    assert "failed A restore was carried out\n         No restore is recorded in" in printed
