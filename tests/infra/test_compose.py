from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet
from dotenv import dotenv_values

from include.serving.shutdown_timeouts import STOP_SECONDS
from include.settings import Settings
from local.compose_secrets import complete, required

SECRET = re.compile(
    r"PASSWORD|SECRET|ACCESS_KEY|FERNET|SQL_ALCHEMY_CONN|RESULT_BACKEND|BACKEND_STORE_URI|BROKER_URL|STORE__URL|REDISCLI_AUTH"
)
REQUIRED = re.compile(r"\$\{[A-Z_0-9]+:\?[^}]+\}")
VARIABLE = re.compile(r"\$\{([A-Z_0-9]+)")


@pytest.fixture(scope="module")
def text(root: Path) -> str:
    return (root / "docker-compose.yaml").read_text()


@pytest.fixture(scope="module")
def services(text: str) -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    return services


@pytest.fixture(scope="module")
def airflow(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in services.items() if name.startswith("airflow-")}


def _mounts(service: dict[str, Any]) -> dict[str, str]:
    pairs = [v.split(":")[:2] if isinstance(v, str) else (v["source"], v["target"]) for v in service.get("volumes", [])]
    return {target: source for source, target in pairs}


def test_published_ports_are_bound_to_localhost(services: dict[str, dict[str, Any]]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert not any(service.get("network_mode") == "host" for service in services.values())


def test_secrets_have_neither_value_nor_default(services: dict[str, dict[str, Any]]) -> None:
    secrets = {
        (service, name): str(value)
        for service, definition in services.items()
        for name, value in definition.get("environment", {}).items()
        if SECRET.search(name) and not name.endswith("_FILE")
    }

    assert secrets
    assert [where for where, value in secrets.items() if not REQUIRED.search(value)] == []


def test_example_environment_has_every_variable_and_no_secret(root: Path, text: str) -> None:
    lines = [line for line in (root / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    example = dict(line.split("=", 1) for line in lines)

    assert set(VARIABLE.findall(text)) == set(example)
    required = {match[2:].split(":?")[0] for match in REQUIRED.findall(text)}
    assert {name for name in required if example[name]} == set()


def test_airflow_services_share_image_and_configuration(airflow: dict[str, dict[str, Any]]) -> None:
    assert {"airflow-api-server", "airflow-dag-processor", "airflow-scheduler", "airflow-triggerer"} < set(airflow)
    assert len({service["image"] for service in airflow.values()}) == 1
    settings = [dict(service["environment"]) for service in airflow.values()]
    for environment in settings:
        environment.pop("AIRFLOW_ADMIN_PASSWORD", None)
    assert all(environment == settings[0] for environment in settings)
    # The image contains the DAGs: no mount covers them.
    assert not any(target.startswith("/opt/churnflow") for service in airflow.values() for target in _mounts(service))


def test_airflow_and_serving_share_the_data_volume(services: dict[str, dict[str, Any]]) -> None:
    scheduler, serving = services["airflow-scheduler"], services["serving"]
    home = scheduler["environment"]["CHURN_HOME"]

    assert serving["environment"]["CHURN_HOME"] == home
    assert _mounts(scheduler)[home] == _mounts(serving)[home]
    assert scheduler["image"] == serving["image"]
    # Airflow reaches the endpoint by its service name and port.
    assert scheduler["environment"]["CHURN_SERVING__HOST"] in services
    assert scheduler["environment"]["CHURN_SERVING__PORT"] == serving["environment"]["CHURN_SERVING__PORT"]


def test_stop_grace_period_covers_two_worker_pools(services: dict[str, dict[str, Any]]) -> None:
    assert int(services["serving"]["stop_grace_period"].removesuffix("s")) > 2 * STOP_SECONDS


def test_long_running_services_have_health_checks_and_restart(services: dict[str, dict[str, Any]]) -> None:
    long_running = {name: service for name, service in services.items() if name != "airflow-init"}

    assert all("healthcheck" in service for service in long_running.values())
    assert all(service["restart"] == "unless-stopped" for service in long_running.values())
    assert services["airflow-init"]["restart"] == "no"


def test_dependencies_exist_and_can_become_ready(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        for needed, how in service.get("depends_on", {}).items():
            ready = "service_healthy" if "healthcheck" in services[needed] else "service_completed_successfully"
            assert how == {"condition": ready}


def test_named_volumes_are_declared_and_used(text: str, services: dict[str, dict[str, Any]]) -> None:
    sources = {source for service in services.values() for source in _mounts(service).values()}

    assert {source for source in sources if not source.startswith((".", "$"))} == set(yaml.safe_load(text)["volumes"])


def test_all_containers_except_postgres_have_no_capabilities(services: dict[str, dict[str, Any]]) -> None:
    others = [service for name, service in services.items() if name != "postgres"]

    assert all(service["cap_drop"] == ["ALL"] for service in others)
    assert all(service["security_opt"] == ["no-new-privileges:true"] for service in others)


def test_containers_with_the_own_image_have_a_read_only_root(services: dict[str, dict[str, Any]]) -> None:
    own = [service for service in services.values() if service["image"].startswith("churnflow-")]

    assert len(own) == 8
    assert all(service["read_only"] and service["tmpfs"] == ["/tmp"] for service in own)  # noqa: S108 - in a container


def test_long_running_services_have_limits(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if name != "airflow-init":
            assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}, name


def test_missing_secrets_are_created_and_existing_values_stay(root: Path, tmp_path: Path) -> None:
    target = tmp_path / ".env"
    target.write_text("REDIS_PASSWORD=existing\nCHURN_PROJECT=subscription\n")

    added = complete(root / ".env.example", target, tmp_path / "landing")

    values = dotenv_values(target)
    assert values["REDIS_PASSWORD"] == "existing"
    assert values["CHURN_PROJECT"] == "subscription"
    assert set(added) == set(required(root / ".env.example")) - {"REDIS_PASSWORD"}
    assert all(values[name] for name in required(root / ".env.example"))
    assert len({values[name] for name in added}) == len(added)
    Fernet(str(values["AIRFLOW_FERNET_KEY"]))
    assert target.stat().st_mode & 0o777 == 0o600
    assert complete(root / ".env.example", target, tmp_path / "landing") == []
    assert dotenv_values(target) == values


def test_postgres_is_17_or_later(services: dict[str, dict[str, Any]]) -> None:
    assert int(services["postgres"]["image"].split(":")[1].split(".")[0]) >= 17


@pytest.mark.slow
def test_mlflow_accepts_its_service_name(services: dict[str, dict[str, Any]]) -> None:
    from mlflow.server.security_utils import is_allowed_host_header

    allowed = services["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    called = services["airflow-scheduler"]["environment"]["CHURN_MLFLOW__TRACKING_URI"].removeprefix("http://")

    assert is_allowed_host_header(allowed, called)
    assert is_allowed_host_header(allowed, "127.0.0.1:5000")
    assert not is_allowed_host_header(allowed, "attacker.example:5000")


def test_empty_variables_mean_unset(services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("CHURN_")]:
        monkeypatch.delenv(name)
    for name, value in services["serving"]["environment"].items():
        monkeypatch.setenv(name, re.sub(r"\$\{[A-Z_0-9]+:[-?]([^}]*)\}", r"\1", str(value)))
    serving = Settings().serving
    assert (serving.host, serving.api_keys_file, serving.api_key.get_secret_value()) == ("0.0.0.0", None, "")  # noqa: S104
    assert (serving.store.backend, serving.log.uri) == ("redis", "s3://churn/predictions")


@pytest.mark.slow
def test_executor_can_be_imported(services: dict[str, dict[str, Any]]) -> None:
    from airflow.executors.executor_loader import ExecutorLoader

    module, _, name = ExecutorLoader.executors[
        services["airflow-scheduler"]["environment"]["AIRFLOW__CORE__EXECUTOR"]
    ].rpartition(".")

    assert hasattr(importlib.import_module(module), name)


def test_init_creates_the_missing_passwords_and_prints_none(
    services: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    script = services["airflow-init"]["command"][-1]
    code = script.partition("<<'EOF'\n")[2].partition("EOF\n")[0].replace("/opt/airflow/auth", str(tmp_path))
    file = tmp_path / "passwords.json"

    def run(users: str) -> dict[str, str]:
        variables = {"AIRFLOW_ADMIN_PASSWORD": "given", "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": users}
        done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == ("", "")
        stored: dict[str, str] = json.loads(file.read_text())
        return stored

    first = run("admin:admin,eva:viewer")
    assert first == {"admin": "given", "eva": first["eva"]}
    second = run("admin:admin,eva:op,ali:viewer")
    assert second == first | {"ali": second["ali"]}
    assert len(set(second.values())) == 3
