"""The training chart: valid manifests, names that match the settings, and only the permissions that are used."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from include.settings import PodSettings
from tests.kubernetes.api import RIGHTS

Helm = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run_helm(helm: str, root: Path, tmp_path: Path) -> Helm:
    def run(*arguments: str, **values: Any) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        command = [helm, *arguments, str(root / "helm/churn-training"), "--values", str(file)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def render(run_helm: Helm) -> Callable[..., dict[str, dict[str, Any]]]:
    """Render the chart, validate each document strictly, and return the documents by kind."""

    def rendered(**values: Any) -> dict[str, dict[str, Any]]:
        done = run_helm("template", "churn-training", "--namespace", "churn", **values)
        assert done.returncode == 0, done.stderr
        documents = [document for document in yaml.safe_load_all(done.stdout) if document]
        for document in documents:
            kubernetes_validate.validate(document, "1.33", strict=True)
        return {document["kind"]: document for document in documents}

    return rendered


def test_chart_passes_lint(run_helm: Helm) -> None:
    done = run_helm("lint", "--strict")
    assert done.returncode == 0, done.stdout


def test_names_match_the_settings(render: Callable[..., dict[str, dict[str, Any]]]) -> None:
    documents, pod = render(), PodSettings()
    assert documents["ServiceAccount"]["metadata"]["name"] == pod.service_account
    assert documents["ServiceAccount"]["automountServiceAccountToken"] is False
    assert documents["PersistentVolumeClaim"]["metadata"]["name"] == pod.data_claim
    assert documents["PersistentVolumeClaim"]["spec"]["accessModes"] == ["ReadWriteMany"]
    assert {document["metadata"]["namespace"] for document in documents.values()} == {pod.namespace}


def test_airflow_gets_exactly_the_permissions_of_the_pod_tests(
    render: Callable[..., dict[str, dict[str, Any]]],
) -> None:
    documents = render(airflow={"namespace": "orchestration", "serviceAccounts": ["worker", "triggerer"]})
    rules = documents["Role"]["rules"]
    assert {resource: set(rule["verbs"]) for rule in rules for resource in rule["resources"]} == RIGHTS
    assert all(rule["apiGroups"] == [""] for rule in rules)
    binding = documents["RoleBinding"]
    assert binding["roleRef"]["name"] == documents["Role"]["metadata"]["name"]
    assert [(subject["namespace"], subject["name"]) for subject in binding["subjects"]] == [
        ("orchestration", "worker"),
        ("orchestration", "triggerer"),
    ]


def test_existing_claim_is_not_created(render: Callable[..., dict[str, dict[str, Any]]]) -> None:
    assert "PersistentVolumeClaim" not in render(data={"create": False})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"data": {"size": "50 gigabytes"}}, "size"),
        ({"airflow": {"serviceAccounts": []}}, "serviceAccounts"),
        ({"serviceAccount": {"name": "Churn"}}, "name"),
        ({"gpu": 1}, "gpu"),
    ],
)
def test_invalid_value_is_rejected_by_name(run_helm: Helm, values: dict[str, Any], named: str) -> None:
    done = run_helm("template", "churn-training", **values)
    assert done.returncode != 0
    assert named in done.stderr
