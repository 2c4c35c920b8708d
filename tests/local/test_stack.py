from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from include.settings import ServingSettings, Settings
from local.environment import LocalPorts, PortError
from local.stack import Stack
from local.supervision import ProcessError


@pytest.fixture
def ports() -> Iterator[list[int]]:
    """Return four ports: three are free, the last is in use."""
    probes = [socket.socket() for _ in range(4)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    probes[-1].listen()
    numbers = [probe.getsockname()[1] for probe in probes]
    for probe in probes[:-1]:
        probe.close()
    yield numbers
    probes[-1].close()


def stack(home: Path, airflow: int, mlflow: int, serving: int) -> Stack:
    settings = Settings(home=home, serving=ServingSettings(port=serving))
    return Stack(settings, LocalPorts(airflow_port=airflow, mlflow_port=mlflow))


def test_port_in_use_is_reported_before_a_process_starts(tmp_path: Path, ports: list[int]) -> None:
    home = tmp_path / "home"
    with pytest.raises(PortError, match="CHURN_LOCAL_MLFLOW_PORT"):
        stack(home, ports[0], ports[3], ports[2]).up(print)
    assert not home.exists()


def test_environment_requires_a_running_stack(tmp_path: Path, ports: list[int]) -> None:
    with pytest.raises(ProcessError, match="make up"):
        stack(tmp_path, *ports[:3]).environment()


def test_stopping_a_stopped_stack_is_no_error(tmp_path: Path, ports: list[int]) -> None:
    messages: list[str] = []
    stack(tmp_path, *ports[:3]).down(messages.append)
    assert messages == ["The stack is stopped."]


def test_mlflow_url_uses_its_port(tmp_path: Path, ports: list[int]) -> None:
    one = stack(tmp_path, *ports[:3])
    assert one.settings.mlflow.tracking_uri == one.mlflow_url == f"http://127.0.0.1:{ports[1]}"


@pytest.mark.slow
def test_failed_start_is_reported_with_the_log_and_undone(tmp_path: Path, ports: list[int]) -> None:
    broken = tmp_path / "airflow" / "grocery" / "airflow.cfg"
    broken.parent.mkdir(parents=True)
    broken.write_text("this is no configuration file\n")
    one = stack(tmp_path, *ports[:3])
    with pytest.raises(ProcessError, match=r"migration of Airflow's database failed(.|\n)*airflow\.cfg"):
        one.up(print)
    assert one.supervisor.pid() is None
    assert [process for process in psutil.process_iter(["cmdline"]) if _mentions(process, tmp_path)] == []


def _mentions(process: psutil.Process, folder: Path) -> bool:
    return any(str(folder) in part for part in process.info["cmdline"] or [])
