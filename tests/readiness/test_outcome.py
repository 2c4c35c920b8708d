"""The plugin tests/outcome.py records a run of all tests, and no run of a part."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from include.drills import TESTS, DrillRecord, read_drill
from include.readiness.tested_code import code_checksum
from include.settings import ROOT
from local.supervision import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "suite"
    (folder / "checks").mkdir(parents=True)
    (folder / "pytest.ini").write_text("[pytest]\ntestpaths = checks\n")
    (folder / "checks" / "test_two.py").write_text(
        "import pytest\n\ndef test_one():\n    pass\n\ndef test_two():\n    pytest.skip()\n"
    )
    return folder


def start(suite: Path, *arguments: str) -> subprocess.Popen[bytes]:
    plugins = [part for name in ("tests.outcome", "xdist.plugin", "no:cacheprovider") for part in ("-p", name)]
    command = [sys.executable, "-m", "pytest", "-q", *plugins, *arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CHURN_", "PYTEST_"))}
    environment |= {"CHURN_HOME": str(suite), "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.Popen(command, cwd=suite, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run(suite: Path, *arguments: str) -> int:
    return start(suite, *arguments).wait(120)


def counts(record: DrillRecord) -> dict[str, object]:
    return {name: record.figures[name] for name in ("passed", "failed", "skipped")}


@pytest.mark.parametrize("arguments", [["-k", "one"], ["-m", "not slow"], ["checks/test_two.py"], ["--collect-only"]])
def test_run_of_a_part_is_not_recorded(suite: Path, arguments: list[str]) -> None:
    assert run(suite, *arguments) == 0
    assert read_drill(suite, TESTS) is None


def test_run_of_all_tests_is_recorded_with_its_counts_and_the_code(suite: Path) -> None:
    assert run(suite) == 0
    record = read_drill(suite, TESTS)
    assert record is not None
    assert record.passed
    assert counts(record) == {"passed": 1, "failed": 0, "skipped": 1}
    assert record.figures["code"] == code_checksum(ROOT)
    (suite / "checks" / "test_three.py").write_text("def test_three():\n    assert False\n")
    assert run(suite) == 1
    record = read_drill(suite, TESTS)
    assert record is not None
    assert not record.passed


def test_run_in_several_processes_is_recorded(suite: Path) -> None:
    # The processes of xdist do not always end, so the test waits for the record.
    controller = start(suite, "-n", "2")
    try:
        assert wait_until(lambda: read_drill(suite, TESTS) is not None, 120)
    finally:
        controller.kill()
        controller.wait()
    record = read_drill(suite, TESTS)
    assert record is not None
    assert counts(record) == {"passed": 1, "failed": 0, "skipped": 1}
