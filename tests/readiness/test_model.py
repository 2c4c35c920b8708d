"""Gate 2: each check reads the registry, the record of the tests, a report, or the documentation."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from include.readiness.system import NotReadyError, System
from include.readiness.tested_code import code_checksum, record_tests
from include.settings import MlflowSettings
from include.training.evaluation.leakage import LeakageError
from include.training.release.publish import published_card
from include.training.release.registry import RegistryError
from tests.readiness.conftest import ACCURATE, CLEAN, NOW, edit, examine, register, with_root, with_settings


def test_training_of_the_pipeline_is_automated_and_another_is_not(system: System) -> None:
    register(system)
    assert not examine(system, "training_automated").passed
    version = register(system, tags={"dvc.revision": "0" * 32, "request_reason": "due"})
    found = examine(system, "training_automated")
    assert found.passed
    assert f"version {version}" in found.text
    assert "Reason: due." in found.text


def test_champion_must_meet_every_requirement_of_its_training(system: System) -> None:
    register(system)
    assert "checked no requirement" in examine(system, "baseline_metrics").text
    register(system, verdicts=[ACCURATE])
    assert examine(system, "baseline_metrics").passed
    register(system, verdicts=[ACCURATE, replace(ACCURATE, name="f1", required=0.9)])
    found = examine(system, "baseline_metrics")
    assert not found.passed
    assert "f1 0.8 (at least 0.9)" in found.text
    assert found.figure == "1 of 2 met"


def test_registered_and_tracked_model_is_the_champion(system: System) -> None:
    register(system, aliases=("challenger",))
    for name in ("model_registered", "experiment_tracked"):
        with pytest.raises(RegistryError, match="No version has the alias 'champion'"):
            examine(system, name)  # type: ignore[arg-type]
    version = register(system)
    assert examine(system, "model_registered").figure == f"version {version}"
    assert examine(system, "experiment_tracked").figure == "1 metric"


def test_registry_that_does_not_answer_is_asked_once(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    from include.training.release import registry

    asked = []

    def refuse(self: registry.Registry, alias: str) -> None:
        asked.append(alias)
        raise registry.MlflowException("down")

    monkeypatch.setattr(registry.Registry, "version_of", refuse)
    down = with_settings(system, mlflow=MlflowSettings(tracking_uri="http://127.0.0.1:9"))
    for name in ("model_registered", "no_leakage"):
        with pytest.raises(NotReadyError, match="registry does not answer"):
            examine(down, name)  # type: ignore[arg-type]
    assert len(asked) == 1


def test_published_card_passes(system: System) -> None:
    version = register(system)
    assert not examine(system, "model_card").passed
    card = system.settings.reports_dir / published_card(version)
    card.parent.mkdir(parents=True)
    card.write_text("<p>card</p>")
    assert examine(system, "model_card").link == published_card(version)


def test_champion_with_a_leakage_finding_or_without_a_check_fails(system: System) -> None:
    register(system)
    assert examine(system, "no_leakage").passed
    register(system, leakage=CLEAN.model_copy(update={"findings": ("exit_survey ranks too well.",)}))
    with pytest.raises(LeakageError, match="exit_survey"):
        examine(system, "no_leakage")
    register(system, leakage=None)
    with pytest.raises(LeakageError, match="not checked"):
        examine(system, "no_leakage")


def record(system: System, code: str, failed: int = 0) -> None:
    record_tests(system.settings.home, code, NOW, {"passed": 900, "failed": failed, "skipped": 2}, 61.4)


def test_tests_pass_with_the_code_of_the_installation(system: System) -> None:
    assert "No run of all tests" in examine(system, "tests_pass").text
    record(system, code_checksum(system.root))
    found = examine(system, "tests_pass")
    assert found.passed
    assert found.time == NOW
    assert "900 tests passed, 0 failed, 2 skipped, in 61 s" in found.text


def test_failed_test_or_other_code_fails(system: System) -> None:
    record(system, code_checksum(system.root), failed=1)
    assert not examine(system, "tests_pass").passed
    record(system, "0" * 16)
    found = examine(system, "tests_pass")
    assert not found.passed
    assert "other code" in found.text


def test_code_checksum_changes_with_content_and_name_and_not_with_other_files(tmp_path: Path) -> None:
    code = tmp_path / "include" / "step.py"
    code.parent.mkdir()
    code.write_text("a = 1\n")
    first = code_checksum(tmp_path)
    (tmp_path / "include" / "project.yaml").write_text("name: shop\n")
    assert code_checksum(tmp_path) == first
    code.rename(code.with_name("other.py"))
    second = code_checksum(tmp_path)
    code.with_name("other.py").write_text("a = 2\n")
    assert len({first, second, code_checksum(tmp_path)}) == 3


def test_architecture_must_describe_each_part_of_the_product(system: System, product: Path) -> None:
    assert examine(system, "architecture_documented").passed
    for name in ("lake", "readiness"):
        (product / "include" / name).mkdir(parents=True)
        (product / "include" / name / "__init__.py").touch()
    (product / "include" / "errors.py").touch()
    copy = with_root(system, product)
    assert examine(copy, "architecture_documented").figure == "3 of 3 parts"
    edit(product / "docs" / "architecture.md", lambda text: text.replace("`include/lake/`", "the lake"))
    found = examine(copy, "architecture_documented")
    assert not found.passed
    assert "does not describe lake" in found.text


def test_evidence_of_a_training_has_the_time_of_its_registration(system: System) -> None:
    register(system, verdicts=[ACCURATE])
    time = examine(system, "baseline_metrics").time
    assert time is not None
    assert abs(time - NOW) < dt.timedelta(minutes=10)
