from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from include.serving.deployment.package import build_bento
from include.settings import Settings
from local.environment import lineage_environment
from tests.serving.conftest import train_bundle


@pytest.fixture(scope="module")
def dockerfile(root: Path) -> str:
    return (root / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def stages(dockerfile: str) -> dict[str, str]:
    parts = re.split(r"^FROM \S+ AS (\w+)$", dockerfile, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("target", ["airflow", "training", "serving"])
def test_images_run_as_an_unprivileged_user_id(stages: dict[str, str], target: str) -> None:
    # Kubernetes (runAsNonRoot) accepts a numeric user only.
    assert re.findall(r"^USER (\S+)$", stages[target], flags=re.MULTILINE)[-1] == "10001:10001"


def test_lineage_events_are_those_of_the_local_stack(root: Path, stages: dict[str, str]) -> None:
    variable = re.compile(r"((?:AIRFLOW__)?OPENLINEAGE__\w+)='?([^'\n]*?)'?(?: \\)?$", re.MULTILINE)
    found = dict(variable.findall(stages["airflow"]))
    compose = yaml.safe_load((root / "docker-compose.yaml").read_text())["x-airflow-environment"]
    expected = lineage_environment(Settings(home=Path("/var/lib/churnflow")))
    own = {name: expected.pop(name) for name in set(expected) - set(found)}
    assert found == expected
    for name, value in own.items():
        assert compose[name].replace("${CHURN_PROJECT:-grocery}", "grocery") == value
        assert {"name": name, "value": value} in yaml.safe_load((root / "helm/airflow-values.yaml").read_text())["env"]


def test_lock_is_installed_with_hashes(stages: dict[str, str]) -> None:
    assert "--require-hashes" in stages["locked"]


def test_serving_constraints_have_hashes(root: Path) -> None:
    constraints = (root / "docker/serving-constraints.txt").read_text().replace("\\\n", " ")
    pins = [line for line in constraints.splitlines() if line and not line.startswith("#")]

    assert pins
    assert all("--hash=sha256:" in pin for pin in pins)


def test_serving_uses_the_xgboost_version_of_the_lock(root: Path) -> None:
    def pinned(file: str, package: str) -> str:
        (version,) = re.findall(rf"^{package}==(\S+)", (root / file).read_text(), flags=re.MULTILINE)
        return str(version)

    assert pinned("docker/serving-constraints.txt", "xgboost-cpu") == pinned("requirements.txt", "xgboost")


def test_serving_image_and_chart_agree_on_port_and_user(root: Path, stages: dict[str, str]) -> None:
    chart = (root / "helm/churn-serving/templates/deployment.yaml").read_text()

    assert "EXPOSE 8000" in stages["serving"]
    assert '"--port", "8000"' in stages["serving"]
    assert "containerPort: 8000" in chart
    assert "runAsUser: 10001" in chart


def test_copied_files_exist_and_are_in_the_build_context(root: Path, dockerfile: str) -> None:
    sources = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, flags=re.MULTILINE)
        for source in line.split()[:-1]
    ]
    build_context = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert set(sources) == build_context
    assert [source for source in build_context if not (root / source).exists()] == []


def test_build_targets_of_compose_exist(root: Path, stages: dict[str, str]) -> None:
    services = yaml.safe_load((root / "docker-compose.yaml").read_text())["services"]
    targets = {service["build"]["target"] for service in services.values() if "build" in service}

    assert targets
    assert targets <= set(stages)


@pytest.mark.slow
def test_requirements_of_a_bento_are_pinned_with_hashes(root: Path, tmp_path: Path) -> None:
    bento = Path(build_bento(train_bundle(), "7", tmp_path / "synthetic").path)
    requirements = (bento / "env/python/requirements.txt").read_text().split()
    pinned = (root / "requirements.txt").read_text() + (root / "docker/serving-constraints.txt").read_text()

    assert any(requirement.startswith("bentoml==") for requirement in requirements)
    assert [
        r for r in requirements if not re.search(rf"^{re.escape(r)}( ;.*)? \\\n +--hash", pinned, re.MULTILINE)
    ] == []
