from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local.supervision import ProcessError, Program, Supervisor, wait_until

pytestmark = pytest.mark.slow

# Starts a child process, as servers with workers do, and prints both process ids.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "a home with spaces" / ("x" * 120))
    yield supervisor
    supervisor.shut_down()


def family(supervisor: Supervisor) -> list[psutil.Process]:
    supervisor.launch()
    supervisor.add([python("family", FAMILY)], [])
    log = supervisor.log_path("family")
    assert wait_until(lambda: log.exists() and bool(log.read_text().split()), 30)
    return [psutil.Process(int(pid)) for pid in log.read_text().split()]


def python(name: str, code: str, environment: dict[str, str] | None = None, *arguments: str) -> Program:
    one_line = f"exec({code!r})"
    return Program(name, [sys.executable, "-c", one_line, *arguments], 10, environment or {})


@pytest.mark.parametrize("text", ["50%, of=it", '[{"emit": false}, "it;s"]', "it's"])
def test_program_receives_variables_and_arguments(supervisor: Supervisor, text: str) -> None:
    code = "import os, sys, time; print(os.environ['TEXT'], sys.argv[1:], flush=True); time.sleep(600)"
    supervisor.launch()
    supervisor.add([python("one", code, {"TEXT": text}, "two words", "100%")], [])
    log = supervisor.log_path("one")
    assert wait_until(lambda: log.exists() and log.read_text() != "", 30)
    assert log.read_text() == f"{text} ['two words', '100%']\n"


def test_adding_a_program_does_not_restart_others(supervisor: Supervisor) -> None:
    first = family(supervisor)
    supervisor.add([python("later", FAMILY)], [python("family", FAMILY)])
    assert wait_until(lambda: supervisor.states() == {"family": "RUNNING", "later": "RUNNING"}, 30)
    assert all(process.is_running() for process in first)


def test_program_that_cannot_start_is_reported_with_its_log(supervisor: Supervisor) -> None:
    supervisor.launch()
    supervisor.add([python("broken", "raise SystemExit('no such database')")], [])
    assert wait_until(lambda: supervisor.states()["broken"] == "FATAL", 60)
    with pytest.raises(ProcessError, match=r"broken is FATAL(.|\n)*no such database"):
        supervisor.require_alive()


def test_shutdown_stops_children_of_programs(supervisor: Supervisor) -> None:
    processes = [*family(supervisor), psutil.Process(supervisor.pid() or 0)]
    supervisor.shut_down()
    assert psutil.wait_procs(processes, timeout=30)[1] == []
    assert supervisor.pid() is None


@pytest.mark.parametrize("gone", [False, True], ids=["ending", "ended"])
def test_shutdown_stops_programs_of_a_killed_daemon(supervisor: Supervisor, gone: bool) -> None:
    processes = family(supervisor)
    os.kill(supervisor.pid() or 0, signal.SIGKILL)
    if gone:
        assert wait_until(lambda: supervisor.pid() is None, 10, pause=0)
    supervisor.shut_down()
    assert psutil.wait_procs(processes, timeout=30)[1] == []


def test_pid_file_of_another_process_is_ignored(supervisor: Supervisor) -> None:
    supervisor.folder.mkdir(parents=True)
    (supervisor.folder / "supervisord.pid").write_text(str(os.getpid()))
    assert supervisor.pid() is None


def test_only_the_owner_can_read_the_configuration(supervisor: Supervisor) -> None:
    supervisor.launch()
    assert (supervisor.folder / "supervisord.conf").stat().st_mode & 0o777 == 0o600
