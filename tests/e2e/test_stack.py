from __future__ import annotations

import contextlib

import httpx
import psutil
import pytest

from tests.e2e.conftest import RunningStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2000)]

PROGRAMS = {"postgres", "api-server", "dag-processor", "scheduler", "triggerer", "mlflow", "serving"}


def test_all_components_are_healthy(stack: RunningStack) -> None:
    assert stack.stack.supervisor.states() == dict.fromkeys(PROGRAMS, "RUNNING")
    assert set(stack.stack.health().values()) == {"healthy"}
    assert httpx.get(f"{stack.stack.mlflow_url}/health").text == "OK"


def test_status_lists_each_process(stack: RunningStack) -> None:
    done = stack.run(".venv/bin/python", "-m", "local", "status")
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()} >= PROGRAMS


def test_a_second_up_changes_nothing(stack: RunningStack) -> None:
    before = stack.stack.supervisor.pid()
    done = stack.run(".venv/bin/python", "-m", "local", "up")
    assert done.returncode == 0, done.stderr
    assert "already running" in done.stdout
    assert stack.stack.supervisor.pid() == before


def test_all_servers_listen_on_the_loopback_interface_only(stack: RunningStack) -> None:
    addresses = set()
    for process in stack.processes():
        with contextlib.suppress(psutil.NoSuchProcess):  # the process ended in the meantime
            connections = process.net_connections("inet")
            addresses |= {found.laddr.ip for found in connections if found.status == psutil.CONN_LISTEN}
    assert addresses == {"127.0.0.1"}


def test_only_the_owner_can_read_secrets(stack: RunningStack) -> None:
    folder = stack.stack.supervisor.folder
    modes = {name: (folder / name).stat().st_mode & 0o777 for name in ("secrets.json", "supervisord.conf")}
    assert set(modes.values()) == {0o600}, modes
