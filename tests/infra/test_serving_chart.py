from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.serving.deployment.cluster import CHECK, MODEL_VERSION, PROVENANCE
from include.serving.shutdown_timeouts import STOP_SECONDS
from include.settings import Settings
from tests.infra.charts import Chart
from tests.infra.installed_chart import installed

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
def chart(helm: str, root: Path, tmp_path: Path) -> Chart:
    return Chart(helm, root / "helm/churn-serving", tmp_path)


@pytest.mark.parametrize("values", [{}, OVERRIDDEN], ids=["default", "overridden"])
def test_chart_passes_lint(chart: Chart, values: dict[str, Any]) -> None:
    done = chart.run("lint", "--strict", **values)

    assert done.returncode == 0, done.stdout


def test_default_sizes(chart: Chart) -> None:
    documents = chart.by_kind()
    assert set(documents) == {
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Role",
        "RoleBinding",
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


def test_pod_has_minimal_privileges(chart: Chart) -> None:
    documents = chart.by_kind()
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


def test_server_writes_to_the_scratch_volume_only(chart: Chart) -> None:
    pod = chart.by_kind()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environment = {item["name"]: item["value"] for item in container["env"]}
    (mount,) = container["volumeMounts"]
    (volume,) = pod["volumes"]

    assert mount["mountPath"] == "/tmp"  # noqa: S108 - the mount itself
    assert volume["name"] == mount["name"]
    assert "emptyDir" in volume
    assert all(environment[name].startswith("/tmp") for name in ("HOME", "BENTOML_HOME"))  # noqa: S108


def test_grace_period_covers_the_shutdown_of_the_server(chart: Chart) -> None:
    pod = chart.by_kind()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    before = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert before + Settings().serving.drain_seconds + STOP_SECONDS < pod["terminationGracePeriodSeconds"]


def settings_of(chart: Chart, values: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **secret: str) -> Settings:
    """Return the settings from the container's variables and secrets."""
    for name in [name for name in os.environ if name.startswith("CHURN_")]:
        monkeypatch.delenv(name)
    (container,) = chart.by_kind(**values)["Deployment"]["spec"]["template"]["spec"]["containers"]
    for variable in container["env"]:
        if variable["name"].startswith("CHURN_"):
            monkeypatch.setenv(variable["name"], secret.get(variable["name"]) or variable["value"])
    return Settings()


def test_prediction_log_requires_an_object_store(chart: Chart, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not settings_of(chart, {}, monkeypatch).serving.log.enabled
    values = {"predictionLog": {"uri": "s3://churn/log"}}
    log = settings_of(chart, values, monkeypatch).serving.log
    assert (log.enabled, log.uri) == (True, "s3://churn/log")
    (volume,) = chart.by_kind(**values)["Deployment"]["spec"]["template"]["spec"]["volumes"]
    assert volume["emptyDir"]["sizeLimit"] == "256Mi"
    row_bytes = 400
    largest = log.max_spool_bytes + row_bytes * log.max_waiting_rows
    assert largest < 256 * 2**20, "the spool and one segment fit into the scratch volume"


def test_lookup_by_id_requires_redis(chart: Chart, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(chart, {}, monkeypatch).serving.store.backend == "none"
    url = "redis://u:secret@redis:6379/0"
    values = {"onlineStore": {"existingSecret": "churn-redis"}}
    store = settings_of(chart, values, monkeypatch, CHURN_SERVING__STORE__URL=url).serving.store
    assert (store.backend, store.url.get_secret_value()) == ("redis", url)
    (container,) = chart.by_kind(**values)["Deployment"]["spec"]["template"]["spec"]["containers"]
    (source,) = [item["valueFrom"] for item in container["env"] if item["name"] == "CHURN_SERVING__STORE__URL"]
    assert source == {"secretKeyRef": {"name": "churn-redis", "key": "url"}}


def test_api_keys_come_from_a_secret_and_protect_metrics(
    chart: Chart, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert settings_of(chart, {}, monkeypatch).serving.api_keys_file is None
    values = {"apiKeys": {"existingSecret": "churn-keys"}}
    keys = tmp_path / "api-keys.json"
    keys.touch()
    serving = settings_of(chart, values, monkeypatch, CHURN_SERVING__API_KEYS_FILE=str(keys)).serving
    assert (serving.api_keys_file, serving.open_routes) == (keys, ())
    opened = {"apiKeys": {"existingSecret": "churn-keys", "openRoutes": ["/metrics"]}}
    serving = settings_of(chart, opened, monkeypatch, CHURN_SERVING__API_KEYS_FILE=str(keys)).serving
    assert serving.open_routes == ("/metrics",)

    pod = chart.by_kind(**values)["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (file,) = [Path(item["value"]) for item in container["env"] if item["name"] == "CHURN_SERVING__API_KEYS_FILE"]
    (mount,) = [item for item in container["volumeMounts"] if item["name"] == "api-keys"]
    (volume,) = [item for item in pod["volumes"] if item["name"] == "api-keys"]
    assert mount == {"name": "api-keys", "mountPath": str(file.parent), "readOnly": True}
    assert volume["secret"]["secretName"] == "churn-keys"


CHECKED = {
    "image": {"digest": "sha256:" + "a" * 64},
    "provenance": {"enabled": True, "publicKey": {"configMap": "churn-public-key"}, "statement": "{}\n"},
}


def test_pods_check_the_provenance_of_their_image_before_the_server_starts(chart: Chart) -> None:
    assert "initContainers" not in chart.by_kind()["Deployment"]["spec"]["template"]["spec"]
    template = chart.by_kind(**CHECKED, podAnnotations={"example.com/team": "crm"})["Deployment"]["spec"]["template"]
    assert template["metadata"]["annotations"] == {PROVENANCE: "{}\n", "example.com/team": "crm"}
    pod = template["spec"]
    (check,), (server,) = pod["initContainers"], pod["containers"]
    assert check["name"] == CHECK
    assert check["image"] == server["image"] == check["env"][0]["value"]
    assert check["securityContext"] == server["securityContext"]
    volumes = {item["name"]: item for item in pod["volumes"]}
    assert volumes["provenance-key"]["configMap"] == {"name": "churn-public-key"}
    (item,) = volumes["provenance"]["downwardAPI"]["items"]
    assert item["fieldRef"]["fieldPath"] == f"metadata.annotations['{PROVENANCE}']"
    assert {mount["name"] for mount in check["volumeMounts"]} == {"provenance-key", "provenance"}
    assert {mount["name"] for mount in server["volumeMounts"]} == {"scratch"}


def test_service_budget_and_autoscaler_select_the_deployment(chart: Chart) -> None:
    documents = chart.by_kind(**OVERRIDDEN | {"autoscaling": {"enabled": True}})
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


def test_new_image_keeps_the_selector(chart: Chart) -> None:
    before = chart.by_kind()["Deployment"]["spec"]["selector"]
    after = chart.by_kind(image={"tag": "model-v2"})["Deployment"]["spec"]["selector"]

    assert before == after


def test_overridden_values_are_rendered(chart: Chart) -> None:
    documents = chart.by_kind(**OVERRIDDEN)
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


def test_requests_reach_the_service_over_tls(chart: Chart) -> None:
    documents = chart.by_kind(
        service={"type": "ClusterIP"},
        ingress={"enabled": True, "className": "nginx", "hosts": ["churn.example"], "tlsSecret": "churn-tls"},
        httpRoute={
            "enabled": True,
            "gateway": {"name": "edge", "sectionName": "https"},
            "hostnames": ["churn.example"],
        },
    )
    service = documents["Service"]
    ingress, route = documents["Ingress"]["spec"], documents["HTTPRoute"]["spec"]
    assert ingress["tls"] == [{"secretName": "churn-tls", "hosts": ["churn.example"]}]
    (rule,) = ingress["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert (backend["name"], backend["port"]["name"]) == (
        service["metadata"]["name"],
        service["spec"]["ports"][0]["name"],
    )
    assert route["parentRefs"] == [{"name": "edge", "sectionName": "https"}]
    assert route["rules"][0]["backendRefs"] == [
        {"name": service["metadata"]["name"], "port": service["spec"]["ports"][0]["port"]}
    ]


def test_keda_scales_within_the_same_limits(chart: Chart) -> None:
    hpa = chart.by_kind()["HorizontalPodAutoscaler"]["spec"]
    documents = chart.by_kind(autoscaling={"keda": {"enabled": True, "prometheusUrl": "http://prometheus:9090"}})
    assert "HorizontalPodAutoscaler" not in documents
    scaled = documents["ScaledObject"]["spec"]
    assert scaled["scaleTargetRef"] == {"name": hpa["scaleTargetRef"]["name"]}
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (hpa["minReplicas"], hpa["maxReplicas"])
    triggers = {trigger["type"]: trigger["metadata"] for trigger in scaled["triggers"]}
    assert (triggers["cpu"]["value"], triggers["memory"]["value"]) == ("70", "80")
    assert 'namespace="churn"' in triggers["prometheus"]["query"]


def test_pods_connect_only_to_their_stores(chart: Chart) -> None:
    policy = chart.by_kind()["NetworkPolicy"]["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["ingress"] == [{"ports": [{"port": "http"}]}]
    assert policy["egress"] == []
    redis = {"to": [{"podSelector": {"matchLabels": {"app": "redis"}}}], "ports": [{"port": 6379}]}
    allowed = chart.by_kind(
        onlineStore={"existingSecret": "churn-redis"},
        networkPolicy={"to": [redis], "from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]},
    )["NetworkPolicy"]["spec"]
    assert allowed["egress"][1:] == [redis]
    assert {port["port"] for port in allowed["egress"][0]["ports"]} == {53}
    assert allowed["ingress"][0]["from"] == [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
    assert chart.by_kind(onlineStore={"existingSecret": "churn-redis"})["NetworkPolicy"]["spec"]["egress"] == [{}]
    assert "NetworkPolicy" not in chart.by_kind(networkPolicy={"enabled": False})


def test_pods_are_spread_and_have_a_priority(chart: Chart) -> None:
    pod = chart.by_kind(priorityClassName="business-critical")["Deployment"]["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "business-critical"
    assert [item["topologyKey"] for item in pod["topologySpreadConstraints"]] == [
        "topology.kubernetes.io/zone",
        "kubernetes.io/hostname",
    ]


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
        ({"ingress": {"enabled": True, "hosts": ["churn.example"]}}, "tlsSecret"),
        ({"ingress": {"enabled": True, "tlsSecret": "churn-tls"}}, "hosts"),
        ({"ingress": {"hosts": ["https://churn.example"]}}, "hosts"),
        ({"httpRoute": {"enabled": True}}, "gateway"),
        ({"autoscaling": {"keda": {"enabled": True}}}, "prometheusUrl"),
        ({"topologySpread": [{"topologyKey": "zone"}]}, "whenUnsatisfiable"),
        ({"provenance": {"enabled": True}}, "configMap"),
        (CHECKED | {"image": {"digest": ""}}, "image.digest"),
        (CHECKED | {"provenance": CHECKED["provenance"] | {"statement": ""}}, "provenance.statement"),
    ],
)
def test_invalid_value_is_rejected_by_name(chart: Chart, values: dict[str, Any], named: str) -> None:
    done = chart.run("template", "churn-serving", **values)

    assert done.returncode != 0
    assert named in done.stderr


def test_upgrade_keeps_the_deployed_model_and_the_number_of_pods(
    chart: Chart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade must not return to the model of the first installation, nor to its number of pods."""
    provenance = {"enabled": True, "publicKey": {"configMap": "keys"}, "statement": "statement of version 1"}
    first = {"repository": "registry.example/churn-serving", "digest": "sha256:" + "1" * 64}
    documents = chart.render(image=first, provenance=provenance)
    (live,) = [document for document in documents if document["kind"] == "Deployment"]
    deployed = "registry.example/churn-serving@sha256:" + "7" * 64
    live["spec"]["replicas"] = 11
    live["spec"]["template"]["spec"]["containers"][0]["image"] = deployed
    live["spec"]["template"]["metadata"]["annotations"] = {MODEL_VERSION: "7", PROVENANCE: "statement of version 7"}
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))

    def upgraded(*, keep: bool) -> dict[str, Any]:
        command = ("template", "churn-serving", "--dry-run=server", "--disable-openapi-validation")
        done = chart.run(*command, "--namespace", "churn", image=first | {"keepDeployed": keep}, provenance=provenance)
        assert done.returncode == 0, done.stderr
        found = [document for document in yaml.safe_load_all(done.stdout) if document["kind"] == "Deployment"]
        spec: dict[str, Any] = found[0]["spec"]
        return spec

    with installed("churn-serving", documents, tmp_path / "kubeconfig"):
        kept, replaced = upgraded(keep=True), upgraded(keep=False)
    assert (kept["replicas"], replaced["replicas"]) == (11, 11)
    assert kept["template"]["spec"]["containers"][0]["image"] == deployed
    annotations = kept["template"]["metadata"]["annotations"]
    assert (annotations[MODEL_VERSION], annotations[PROVENANCE]) == ("7", "statement of version 7")
    assert replaced["template"]["spec"]["containers"][0]["image"].endswith(first["digest"])
    assert MODEL_VERSION not in replaced["template"]["metadata"]["annotations"]
