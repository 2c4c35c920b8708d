from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from include.serving.shutdown_timeouts import STOP_SECONDS
from include.settings import Settings

Render = Callable[..., dict[str, dict[str, Any]]]
KUBERNETES = ("1.33", "1.35")

OVERRIDDEN = {
    "fullnameOverride": "churn-eu",
    "image": {
        "repository": "registry.example/churn-serving",
        "tag": "model-v12",
        "digest": "sha256:" + "a" * 64,
        "pullPolicy": "Always",
        "pullSecrets": [{"name": "registry"}],
    },
    "replicaCount": 5,
    "service": {
        "type": "LoadBalancer",
        "annotations": {"example.com/internal": "true"},
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
    },
    "autoscaling": {"enabled": False},
    "podDisruptionBudget": {"maxUnavailable": 2},
    "env": {"CHURN_SERVING__MAX_BODY_BYTES": "131072"},
    "envFromSecrets": ["churn-keys"],
    "serviceAccount": {"annotations": {"example.com/identity": "churn"}},
    "podAnnotations": {"prometheus.io/scrape": "true"},
    "nodeSelector": {"pool": "serving"},
    "tolerations": [{"key": "serving", "operator": "Exists", "effect": "NoSchedule"}],
}


@pytest.fixture
def chart(root: Path) -> Path:
    return root / "helm/churn-serving"


@pytest.fixture
def run_helm(helm: str, chart: Path, tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        file = tmp_path / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        command = [helm, *arguments, str(chart), "--values", str(file)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def render(run_helm: Callable[..., subprocess.CompletedProcess[str]]) -> Render:
    """Render the chart, validate each document strictly, and return the documents by kind."""

    def rendered(values: dict[str, Any] | None = None) -> dict[str, dict[str, Any]]:
        done = run_helm("template", "churn-serving", values=values or {})
        assert done.returncode == 0, done.stderr
        documents = [document for document in yaml.safe_load_all(done.stdout) if document]
        for document in documents:
            for version in KUBERNETES:
                kubernetes_validate.validate(document, version, strict=True)
        return {document["kind"]: document for document in documents}

    return rendered


@pytest.mark.parametrize("values", [{}, OVERRIDDEN], ids=["default", "overridden"])
def test_chart_passes_lint(run_helm: Callable[..., subprocess.CompletedProcess[str]], values: dict[str, Any]) -> None:
    done = run_helm("lint", "--strict", values=values)

    assert done.returncode == 0, done.stdout


def test_default_sizes(render: Render) -> None:
    documents = render()
    assert set(documents) == {
        "Deployment",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "Service",
        "ServiceAccount",
    }

    deployment = documents["Deployment"]["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    assert deployment["replicas"] == 3
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert container["resources"] == {
        "requests": {"cpu": "1", "memory": "2Gi"},
        "limits": {"cpu": "2", "memory": "4Gi"},
    }
    assert container["ports"] == [{"name": "http", "containerPort": 8000, "protocol": "TCP"}]
    liveness = container["livenessProbe"]
    assert liveness["httpGet"] == {"path": "/health", "port": "http"}
    assert (liveness["initialDelaySeconds"], liveness["periodSeconds"]) == (30, 10)
    assert container["readinessProbe"]["httpGet"] == {"path": "/health", "port": "http"}

    service = documents["Service"]["spec"]
    assert service["type"] == "LoadBalancer"
    assert [(port["port"], port["targetPort"]) for port in service["ports"]] == [(80, "http")]

    scaler = documents["HorizontalPodAutoscaler"]["spec"]
    targets = {m["resource"]["name"]: m["resource"]["target"]["averageUtilization"] for m in scaler["metrics"]}
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 20)
    assert targets == {"cpu": 70, "memory": 80}


def test_pod_has_minimal_privileges(render: Render) -> None:
    documents = render()
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert documents["ServiceAccount"]["automountServiceAccountToken"] is False
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == documents["ServiceAccount"]["metadata"]["name"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_server_writes_to_the_scratch_volume_only(render: Render) -> None:
    pod = render()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {item["name"]: item["value"] for item in container["env"]}
    (mount,) = container["volumeMounts"]
    (volume,) = pod["volumes"]

    assert mount["mountPath"] == "/tmp"  # noqa: S108 - the mount itself
    assert volume["name"] == mount["name"]
    assert "emptyDir" in volume
    assert all(environment[name].startswith("/tmp") for name in ("HOME", "BENTOML_HOME"))  # noqa: S108


def test_grace_period_covers_the_shutdown_of_the_server(render: Render) -> None:
    pod = render()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert before + Settings().serving.drain_seconds + STOP_SECONDS < pod["terminationGracePeriodSeconds"]


def settings_of(render: Render, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **secret: str) -> Settings:
    """Return the settings from the container's variables and secrets."""
    for name in [name for name in os.environ if name.startswith("CHURN_")]:
        monkeypatch.delenv(name)
    (container,) = render(values)["Deployment"]["spec"]["template"]["spec"]["containers"]
    for variable in container["env"]:
        if variable["name"].startswith("CHURN_"):
            monkeypatch.setenv(variable["name"], secret.get(variable["name"]) or variable["value"])
    return Settings()


def test_prediction_log_requires_an_object_store(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not settings_of(render, {}, monkeypatch).serving.log.enabled
    values = {"predictionLog": {"uri": "s3://churn/log"}}
    log = settings_of(render, values, monkeypatch).serving.log
    assert (log.enabled, log.uri) == (True, "s3://churn/log")
    (volume,) = render(values)["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert volume["emptyDir"]["sizeLimit"] == "256Mi"
    row_bytes = 400
    largest = log.max_spool_bytes + row_bytes * log.max_waiting_rows
    assert largest < 256 * 2**20, "the spool and one segment fit into the scratch volume"


def test_lookup_by_id_requires_redis(render: Render, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(render, {}, monkeypatch).serving.store.backend == "none"
    url = "redis://u:secret@redis:6379/0"
    values = {"onlineStore": {"existingSecret": "churn-redis"}}
    store = settings_of(render, values, monkeypatch, CHURN_SERVING__STORE__URL=url).serving.store
    assert (store.backend, store.url.get_secret_value()) == ("redis", url)
    (container,) = render(values)["Deployment"]["spec"]["template"]["spec"]["containers"]
    (source,) = [item["valueFrom"] for item in container["env"] if item["name"] == "CHURN_SERVING__STORE__URL"]
    assert source == {"secretKeyRef": {"name": "churn-redis", "key": "url"}}


def test_api_keys_come_from_a_secret_and_protect_metrics(
    render: Render, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert settings_of(render, {}, monkeypatch).serving.api_keys_file is None
    values = {"apiKeys": {"existingSecret": "churn-keys"}}
    keys = tmp_path / "api-keys.json"
    keys.touch()
    serving = settings_of(render, values, monkeypatch, CHURN_SERVING__API_KEYS_FILE=str(keys)).serving
    assert (serving.api_keys_file, serving.open_routes) == (keys, ())
    opened = {"apiKeys": {"existingSecret": "churn-keys", "openRoutes": ["/metrics"]}}
    serving = settings_of(render, opened, monkeypatch, CHURN_SERVING__API_KEYS_FILE=str(keys)).serving
    assert serving.open_routes == ("/metrics",)

    pod = render(values)["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (file,) = [Path(item["value"]) for item in container["env"] if item["name"] == "CHURN_SERVING__API_KEYS_FILE"]
    (mount,) = [item for item in container["volumeMounts"] if item["name"] == "api-keys"]
    (volume,) = [item for item in pod["volumes"] if item["name"] == "api-keys"]
    assert mount == {"name": "api-keys", "mountPath": str(file.parent), "readOnly": True}
    assert volume["secret"]["secretName"] == "churn-keys"


def test_service_budget_and_autoscaler_select_the_deployment(render: Render) -> None:
    documents = render(OVERRIDDEN | {"autoscaling": {"enabled": True}})
    deployment = documents["Deployment"]
    pod_labels = deployment["spec"]["template"]["metadata"]["labels"].items()

    assert documents["Service"]["spec"]["selector"].items() <= pod_labels
    assert documents["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= pod_labels
    assert deployment["spec"]["selector"]["matchLabels"].items() <= pod_labels
    assert documents["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"] == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "name": deployment["metadata"]["name"],
    }


def test_new_image_keeps_the_selector(render: Render) -> None:
    before = render()["Deployment"]["spec"]["selector"]
    after = render({"image": {"tag": "model-v2"}})["Deployment"]["spec"]["selector"]

    assert before == after


def test_overridden_values_are_rendered(render: Render) -> None:
    documents = render(OVERRIDDEN)
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert "HorizontalPodAutoscaler" not in documents
    assert documents["Deployment"]["metadata"]["name"] == "churn-eu"
    assert documents["Deployment"]["spec"]["replicas"] == 5
    assert container["image"] == "registry.example/churn-serving@sha256:" + "a" * 64
    assert {"name": "CHURN_SERVING__MAX_BODY_BYTES", "value": "131072"} in container["env"]
    assert container["envFrom"] == [{"secretRef": {"name": "churn-keys"}}]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["nodeSelector"] == {"pool": "serving"}
    assert documents["Service"]["spec"]["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
    assert documents["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 2


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replicaCount": 0}, "replicaCount"),
        ({"predictionLog": {"uri": "/tmp/log"}}, "uri"),  # noqa: S108 - a pod's disk ends with the pod
        ({"apiKeys": {"openRoutes": ["/predict"]}}, "openRoutes"),
        ({"replicaCount": "three"}, "replicaCount"),
        ({"replicas": 3}, "replicas"),
        ({"image": {"tag": "latest"}}, "tag"),
        ({"image": {"tag": ""}}, "tag"),
        ({"image": {"digest": "sha256:short"}}, "digest"),
        ({"resources": {"limits": {"memory": "4 gigabytes"}}}, "memory"),
        ({"resources": {"limits": {"gpu": "1"}}}, "gpu"),
        ({"service": {"type": "ExternalName"}}, "type"),
        ({"service": {"port": 70000}}, "port"),
        ({"autoscaling": {"targetCPUUtilizationPercentage": 170}}, "targetCPUUtilizationPercentage"),
        ({"autoscaling": {"minReplicas": 5, "maxReplicas": 4}}, "autoscaling.maxReplicas"),
        ({"env": {"WITH-DASH": "1"}}, "WITH-DASH"),
        ({"env": {"BENTOML_HOME": "/elsewhere"}}, "BENTOML_HOME"),
        ({"env": {"NUMBER": 1}}, "NUMBER"),
    ],
)
def test_invalid_value_is_rejected_by_name(
    run_helm: Callable[..., subprocess.CompletedProcess[str]], values: dict[str, Any], named: str
) -> None:
    done = run_helm("template", "churn-serving", values=values)

    assert done.returncode != 0
    assert named in done.stderr
