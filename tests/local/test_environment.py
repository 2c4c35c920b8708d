from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from include.settings import ROOT, ServingSettings, Settings
from local.environment import LocalPorts, PortError, require_free, stack_environment
from local.users import LocalUsers

PORTS = LocalPorts(airflow_port=18080, mlflow_port=15000)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def test_code_is_read_from_the_repository_and_data_is_written_below_home(settings: Settings) -> None:
    environment = stack_environment(settings, PORTS, "/run/pg")
    assert environment["AIRFLOW__CORE__DAGS_FOLDER"] == str(ROOT / "dags")
    assert environment["AIRFLOW__CORE__PLUGINS_FOLDER"] == str(ROOT / "plugins")
    assert environment["PYTHONPATH"] == str(ROOT)
    written = ("AIRFLOW_HOME", "AIRFLOW__LOGGING__BASE_LOG_FOLDER", "CHURN_HOME")
    assert all(Path(environment[name]).is_relative_to(settings.home) for name in written)


def test_urls_use_the_ports(settings: Settings) -> None:
    environment = stack_environment(settings, PORTS, "/run/pg")
    assert environment["AIRFLOW__API__PORT"] == "18080"
    assert environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:18080/execution/"
    assert environment["CHURN_MLFLOW__TRACKING_URI"] == "http://127.0.0.1:15000"


def test_airflow_listens_on_localhost(settings: Settings) -> None:
    assert stack_environment(settings, PORTS, "/run/pg")["AIRFLOW__API__HOST"] == "127.0.0.1"


def test_both_drivers_use_the_same_database(settings: Settings) -> None:
    environment = stack_environment(settings, PORTS, "/run/pg")
    sync, asynchronous = (environment[f"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN{suffix}"] for suffix in ("", "_ASYNC"))
    assert sync == "postgresql+psycopg2://postgres@/airflow_grocery?host=/run/pg"
    assert asynchronous == sync.replace("psycopg2", "asyncpg")


def test_variables_of_the_caller_are_kept(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SLACK_CHURN", "{}")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    environment = stack_environment(settings, PORTS, "/run/pg")
    assert environment["AIRFLOW_CONN_SLACK_CHURN"] == "{}"
    assert environment["AIRFLOW__CORE__EXECUTOR"] == "local.executor.PreloadingExecutor"


def test_caller_chooses_the_catalogue_of_the_lineage_events(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TRANSPORT__TYPE", "http")
    environment = stack_environment(settings, PORTS, "/run/pg")
    assert environment["OPENLINEAGE__TRANSPORT__TRANSPORT__TYPE"] == "http"
    assert environment["OPENLINEAGE__TRANSPORT__TYPE"] == "transform"


def test_keys_are_stored(settings: Settings) -> None:
    first, second = (stack_environment(settings, PORTS, "/run/pg") for _ in range(2))
    assert first == second


def test_keys_differ_between_homes(tmp_path: Path) -> None:
    keys = [
        stack_environment(Settings(home=tmp_path / name), PORTS, "/run/pg")["AIRFLOW__CORE__FERNET_KEY"]
        for name in ("one", "two")
    ]
    assert keys[0] != keys[1]


def test_only_the_owner_can_read_the_keys(settings: Settings) -> None:
    stack_environment(settings, PORTS, "/run/pg")
    path = settings.home / "stack" / "secrets.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert set(json.loads(path.read_text())) == {"fernet_key", "api_secret_key", "jwt_secret"}


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


def check_ports(home: Path, numbers: list[int]) -> None:
    serving = ServingSettings(port=numbers[2])
    require_free(LocalPorts(airflow_port=numbers[0], mlflow_port=numbers[1]), Settings(home=home, serving=serving))


def test_accepts_free_ports(tmp_path: Path, free: list[int]) -> None:
    check_ports(tmp_path, free)


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
        check_ports(tmp_path, free)
    assert str(taken) in error.value.what
    assert f"{variable}=" in error.value.remedy


def test_ports_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHURN_LOCAL_AIRFLOW_PORT", "18080")
    monkeypatch.setenv("CHURN_LOCAL_MLFLOW_PORT", "15000")
    assert LocalPorts() == LocalPorts(airflow_port=18080, mlflow_port=15000)


def test_without_users_every_visitor_is_an_administrator(settings: Settings) -> None:
    environment = stack_environment(settings, PORTS, "/run/pg")
    assert environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "True"
    assert LocalUsers().admin_password(settings.home / "stack") is None


def test_users_keep_their_passwords_which_only_the_owner_can_read(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_LOCAL_USERS", "eva:viewer")
    environment = stack_environment(settings, PORTS, "/run/pg")
    path = Path(environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    former = json.loads(path.read_text())
    monkeypatch.setenv("CHURN_LOCAL_USERS", "eva:operator, ali:viewer")
    environment = stack_environment(settings, PORTS, "/run/pg")
    assert environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS"] == "False"
    assert environment["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] == "eva:op,ali:viewer,admin:admin"
    passwords = json.loads(path.read_text())
    assert passwords.items() >= former.items()
    assert len(set(passwords.values())) == 3
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("users", ["eva", "eva:root", "eva:viewer:team", ":viewer", "a,b:viewer"])
def test_invalid_users_are_refused(monkeypatch: pytest.MonkeyPatch, users: str) -> None:
    monkeypatch.setenv("CHURN_LOCAL_USERS", users)
    with pytest.raises(ValidationError):
        LocalUsers()
