"""The test run itself: what it prints when it fails, and the order of the tests."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from include.settings import ROOT

pytestmark = pytest.mark.slow

FAILING = """
import subprocess, sys, time
import pytest

@pytest.fixture
def server_log(tmp_path):
    log = tmp_path / "server.log"
    log.write_text("started\\nout of memory\\n")

def test_answer(server_log):
    assert {"status": 503} == {"status": 200}

def test_command():
    program = "raise SystemExit('no such table')"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)

@pytest.mark.timeout(0.5)
def test_waits():
    time.sleep(60)

@pytest.fixture
def broken():
    raise RuntimeError("the port is taken")

def test_setup(broken):
    pass
"""


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    """Run pytest in ``folder`` with the plugins of this repository and no others."""
    names = ("no:cacheprovider", "pytest_timeout", "xdist", "tests.failures", "tests.scheduling")
    temporary = folder.with_name(f"{folder.name}-temporary")
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", str(folder), str(folder)]
    command += ["--basetemp", str(temporary)]
    return subprocess.Popen(
        [*command, *(f"-p{name}" for name in names), *options],
        cwd=folder,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def last_lines(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=200)
    return "\n".join(output.splitlines()[-60:])


def test_the_last_lines_name_each_failure_with_its_assertion_and_log(tmp_path: Path) -> None:
    tests = tmp_path / "tests"
    tests.mkdir()
    (tests / "test_failing.py").write_text(FAILING)
    (tests / "test_broken.py").write_text("import absent_module\n")
    shown = last_lines(start(tmp_path, "--continue-on-collection-errors"))
    explained = shown[shown.index("each failure:") :].split("\ntests/test_")
    found = {text.split(" ")[0]: text for text in explained[1:]}
    assert "No module named 'absent_module'" in found["broken.py"]
    expected = {
        "answer": ("tests/test_failing.py:11", "assert {'status': 503} == {'status': 200}", "out of memory"),
        "command": ("tests/test_failing.py:15", "CalledProcessError", "no such table"),
        "waits": ("tests/test_failing.py:19", "Timeout (>0.5s)"),
        "setup": ("tests/test_failing.py:23", "RuntimeError: the port is taken"),
    }
    for name, texts in expected.items():
        assert all(text in found[f"failing.py::test_{name}"] for text in texts), name


def test_a_dead_worker_is_a_failure_and_timing_tests_run_last_and_alone(tmp_path: Path) -> None:
    log = tmp_path / "order"
    program = (
        "import os, pathlib, time\nimport pytest\n"
        "def note(text):\n"
        f"    with open({str(log)!r}, 'a') as file: file.write(text + '\\n')\n"
    )
    timing = "@pytest.mark.timing\ndef test_clock(): note('timing')\n"
    (tmp_path / "test_a.py").write_text(program + timing + "def test_a(): time.sleep(0.5); note('a')\n")
    (tmp_path / "test_b.py").write_text(program + timing + "def test_b(): note('b')\n")
    (tmp_path / "test_c.py").write_text(program + "def test_dies(): os._exit(1)\ndef test_next(): note('next')\n")
    shown = last_lines(start(tmp_path, "-n2", "--dist", "loadfile", "-m", "not absent"))
    assert "test_c.py::test_dies" in shown[shown.find("each failure:") :], shown
    assert "1 failed, 5 passed" in shown
    assert log.read_text().splitlines()[-2:] == ["timing", "timing"]


def test_a_run_that_is_ended_names_the_running_test(tmp_path: Path) -> None:
    (tmp_path / "test_long.py").write_text(
        "import pathlib, time\n"
        "def test_long():\n"
        f"    pathlib.Path({str(tmp_path / 'started')!r}).touch()\n"
        "    time.sleep(100)\n"
    )
    process = start(tmp_path)
    while not (tmp_path / "started").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert "ended by SIGTERM while these tests ran: test_long.py::test_long" in last_lines(process)
