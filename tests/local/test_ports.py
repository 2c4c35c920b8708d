from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.settings import ServingSettings, Settings
from local.ports import LocalPorts, PortError, require_free


@pytest.fixture
def free() -> list[int]:
    probes = [socket.socket() for _ in range(3)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    numbers = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return numbers


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def check(home: Path, numbers: list[int]) -> None:
    serving = ServingSettings(port=numbers[2])
    require_free(LocalPorts(airflow_port=numbers[0], mlflow_port=numbers[1]), Settings(home=home, serving=serving))


def test_accepts_free_ports(tmp_path: Path, free: list[int]) -> None:
    check(tmp_path, free)


@pytest.mark.parametrize(
    ("place", "variable"),
    [
        (0, "CHURN_LOCAL_AIRFLOW_PORT"),
        (1, "CHURN_LOCAL_MLFLOW_PORT"),
        (2, "CHURN_SERVING__PORT"),
    ],
)
def test_port_in_use_is_reported_with_its_variable(
    tmp_path: Path, free: list[int], taken: int, place: int, variable: str
) -> None:
    free[place] = taken
    with pytest.raises(PortError) as error:
        check(tmp_path, free)
    assert str(taken) in error.value.what
    assert f"{variable}=" in error.value.remedy


def test_ports_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_LOCAL_AIRFLOW_PORT", "18080")
    monkeypatch.setenv("CHURN_LOCAL_MLFLOW_PORT", "15000")
    assert LocalPorts() == LocalPorts(airflow_port=18080, mlflow_port=15000)
