"""Gate 3: each check asks the endpoint, or reads the serving state, the registry, a report or the charts."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from include.provenance.signature import sign
from include.provenance.statement import PROVENANCE_FILE, Provenance, ProvenanceError, checksums_of
from include.readiness.system import NotReadyError, System
from include.serving.deployment.kubernetes_client import ClusterError
from include.serving.deployment.pods import Release, record_release
from include.serving.deployment.state import BentoReference
from include.serving.load_test.generator import Measurement
from include.serving.load_test.load_report import write_evidence
from include.serving.load_test.run import LoadTest, Payloads, check_requirements
from tests.readiness.conftest import NOW, edit, endpoint, examine, register, with_project, with_root
from tests.serving.servers import record_deployment


def test_endpoint_must_answer_with_the_champion(system: System) -> None:
    version = register(system)
    assert "does not answer" in examine(system, "model_deployed").text
    with endpoint(system, "99") as other:
        assert not examine(other, "model_deployed").passed
    with endpoint(system, version) as same:
        found = examine(same, "model_deployed")
        assert found.passed
        assert found.link == f"{same.settings.serving.url}/health"


def deploy(system: System, version: str = "1") -> Path:
    """Record the deployment of a Bento, and return its folder."""
    folder = system.settings.home / f"bento-{version}"
    folder.mkdir(exist_ok=True)
    (folder / "model.ubj").write_text("trees")
    reference = BentoReference(f"{version}-x", version, str(folder), system.settings.project)
    record_deployment(system.settings.serving_dir, reference)
    return folder


def test_serving_model_must_have_the_checksums_of_its_provenance(system: System) -> None:
    with pytest.raises(NotReadyError, match="No model is deployed"):
        examine(system, "provenance")
    folder = deploy(system)
    assert "has no provenance" in examine(system, "provenance").text
    statement = Provenance(system.settings.project, "run", "1").with_link("bento", checksums_of(folder))
    (folder / PROVENANCE_FILE).write_text(sign(statement.as_statement(), None))
    found = examine(system, "provenance")
    assert found.passed
    assert "not checked, since there is no public key" in found.text
    (folder / "model.ubj").write_text("other trees")
    with pytest.raises(ProvenanceError, match=r"model\.ubj"):
        examine(system, "provenance")


def test_champion_must_be_released(system: System) -> None:
    version = register(system)
    with pytest.raises(ClusterError, match="There is no image of version"):
        examine(system, "ci_cd")
    record_release(version, Release("registry.example/churn@sha256:1", "1-x"), system.settings)
    found = examine(system, "ci_cd")
    assert found.passed
    assert "registry.example/churn@sha256:1" in found.text


def test_release_counts_only_with_the_workflows(system: System, product: Path) -> None:
    version = register(system)
    record_release(version, Release("registry.example/churn@sha256:1", "1-x"), system.settings)
    (product / ".github/workflows/release.yml").unlink()
    with pytest.raises(NotReadyError, match=r"does not contain \.github/workflows/release\.yml"):
        examine(with_root(system, product), "ci_cd")


def test_rollback_is_an_earlier_version_in_place_of_a_later_one(system: System) -> None:
    for version in ("1", "2", "3"):
        deploy(system, version)
    assert not examine(system, "rollback_tested").passed
    deploy(system, "2")
    found = examine(system, "rollback_tested")
    assert found.passed
    assert found.time is not None
    assert abs(found.time - NOW) < dt.timedelta(minutes=10)


def load(system: System, seconds: float, started: dt.datetime = NOW) -> None:
    """Write the result of a load test in which each of 2,000 requests of a second took ``seconds``."""
    run = Measurement(8, 1.0, np.linspace(0, 1, 2000), np.full(2000, seconds), {}, 0.1)
    verdicts = check_requirements(run, system.project.requirements.performance)
    payloads = Payloads([b"{}"], {}, "1", "1-x")
    test = LoadTest("http://127.0.0.1:1", payloads, [run], run, verdicts)
    write_evidence(test, system.settings.project, started, system.settings.reports_dir)


def test_newest_load_test_must_meet_the_requirements(system: System) -> None:
    assert "There is no load test" in examine(system, "load_test").text
    load(system, 0.5, NOW - dt.timedelta(hours=1))
    assert not examine(system, "load_test").passed
    load(system, 0.02)
    found = examine(system, "load_test")
    assert found.passed
    assert found.figure == "p99 20.0 ms"
    assert "2,000 predictions/s" in found.text
    assert found.time == NOW.replace(microsecond=0)
    assert (system.settings.reports_dir / found.link).is_file()


@pytest.mark.parametrize("change", [{"max_inference_p99_ms": 50.0}, {"mode": "disabled"}])
def test_load_test_that_did_not_check_the_present_requirements_fails(system: System, change: dict[str, Any]) -> None:
    requirements = system.project.requirements
    changed = requirements.performance.model_copy(update=change)
    other = with_project(system, requirements=requirements.model_copy(update={"performance": changed}))
    load(other if "mode" in change else system, 0.02)
    found = examine(other, "load_test")
    assert not found.passed
    assert "did not check these requirements" in found.text


def test_charts_must_be_of_the_version_of_the_product(system: System, product: Path) -> None:
    copy = with_root(system, product)
    found = examine(copy, "infrastructure_as_code")
    assert found.passed
    assert "churn-serving" in found.text
    edit(product / "helm/churn-serving/Chart.yaml", lambda text: text.replace("appVersion: ", "appVersion: 9"))
    assert "churn-serving differ" in examine(copy, "infrastructure_as_code").text
    edit(product / "docker-compose.yaml", lambda text: f"{text}\n  - ]")
    with pytest.raises(NotReadyError, match="not valid"):
        examine(copy, "infrastructure_as_code")


def test_pods_must_be_scaled(system: System, product: Path) -> None:
    copy = with_root(system, product)
    assert examine(copy, "capacity").figure == "3 to 20 pods"
    values = product / "helm/churn-serving/values.yaml"
    edit(values, lambda text: text.replace("maxReplicas: 20", "maxReplicas: 3"))
    assert not examine(copy, "capacity").passed
    edit(values, lambda text: text.replace("maxReplicas: 3", "maxReplicas: 9"))
    assert examine(copy, "capacity").passed
    edit(values, lambda text: text.replace("autoscaling:\n  enabled: true", "autoscaling:\n  enabled: false"))
    assert not examine(copy, "capacity").passed
