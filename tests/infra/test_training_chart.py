"""The training chart: valid manifests, names that match the settings, and only the permissions that are used."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from include.settings import PodSettings, Settings, TrainingSettings
from tests.infra.charts import Chart
from tests.kubernetes.api import RIGHTS


@pytest.fixture
def chart(helm: str, root: Path, tmp_path: Path) -> Chart:
    return Chart(helm, root / "helm/churn-training", tmp_path)


def test_chart_passes_lint(chart: Chart) -> None:
    done = chart.run("lint", "--strict")
    assert done.returncode == 0, done.stdout


def test_names_match_the_settings(chart: Chart) -> None:
    documents, pod = chart.by_kind(), PodSettings()
    assert documents["ServiceAccount"]["metadata"]["name"] == pod.service_account
    assert documents["ServiceAccount"]["automountServiceAccountToken"] is False
    assert documents["PersistentVolumeClaim"]["metadata"]["name"] == pod.data_claim
    assert documents["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    settings = documents.pop("ConfigMap")["metadata"]
    assert settings["namespace"] == "airflow"
    assert {document["metadata"]["namespace"] for document in documents.values()} == {pod.namespace}


def test_settings_of_the_pods_are_those_of_the_chart(chart: Chart, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]

    def settings(**pods: Any) -> TrainingSettings:
        for name, value in chart.by_kind(pods=pods)["ConfigMap"]["data"].items():
            monkeypatch.setenv(name, value)
        return Settings().training

    default = settings()
    assert (default.backend, default.device) == ("kubernetes", "cuda")
    assert default.pod == PodSettings(image=f"churnflow-training:{version}")
    changed = settings(
        image={"repository": "registry.example/churnflow-training", "digest": "sha256:" + "a" * 64},
        gpus=0,
        tuningGpus=0,
        resources={"limits": {"cpu": "16"}},
        nodeSelector={"pool": "batch"},
        labels={"cost-center": "crm"},
    )
    assert changed.device == "cpu"
    assert changed.pod.image == "registry.example/churnflow-training@sha256:" + "a" * 64
    assert (changed.pod.gpus, changed.pod.cpu_limit, changed.pod.memory_limit) == (0, "16", "32Gi")
    assert (changed.pod.node_selector["pool"], changed.pod.labels) == ("batch", {"cost-center": "crm"})


def test_airflow_gets_exactly_the_permissions_of_the_pod_tests(chart: Chart) -> None:
    documents = chart.by_kind(airflow={"namespace": "orchestration", "serviceAccounts": ["worker", "triggerer"]})
    rules = documents["Role"]["rules"]
    assert {resource: set(rule["verbs"]) for rule in rules for resource in rule["resources"]} == RIGHTS
    assert all(rule["apiGroups"] == [""] for rule in rules)
    binding = documents["RoleBinding"]
    assert binding["roleRef"]["name"] == documents["Role"]["metadata"]["name"]
    assert [(subject["namespace"], subject["name"]) for subject in binding["subjects"]] == [
        ("orchestration", "worker"),
        ("orchestration", "triggerer"),
    ]


def test_existing_claim_is_not_created(chart: Chart) -> None:
    assert "PersistentVolumeClaim" not in chart.by_kind(data={"create": False})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"data": {"size": "50 gigabytes"}}, "size"),
        ({"airflow": {"serviceAccounts": []}}, "serviceAccounts"),
        ({"serviceAccount": {"name": "Churn"}}, "name"),
        ({"gpu": 1}, "gpu"),
        ({"pods": {"gpus": "two"}}, "gpus"),
        ({"pods": {"resources": {"limits": {"memory": "32 gigabytes"}}}}, "memory"),
        ({"pods": {"image": {"tag": "latest"}}}, "tag"),
    ],
)
def test_invalid_value_is_rejected_by_name(chart: Chart, values: dict[str, Any], named: str) -> None:
    done = chart.run("template", "churn-training", **values)
    assert done.returncode != 0
    assert named in done.stderr
