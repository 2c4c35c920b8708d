"""The training task as a process and as a pod: one command, one task id, M13's numbers."""

import json

import kubernetes_validate
import pytest

from dags.wiring.training_task import training_task
from include.settings import PodSettings, Settings, TrainingSettings

pytestmark = pytest.mark.airflow

DATASET = "grocery/2017-12-17"


CLUSTER = {
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443"}}],
    "users": [{"name": "u", "user": {}}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "x",
}


@pytest.fixture(autouse=True)
def a_cluster_to_name(tmp_path, monkeypatch):
    """Rendering reads the cluster's address, and asks nothing of it."""
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(CLUSTER))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))


def pod(**changes):
    from kubernetes.client import ApiClient

    settings = Settings(training=TrainingSettings(backend="kubernetes", pod=PodSettings(**changes)))
    operator = training_task(settings, DATASET)
    rendered = ApiClient().sanitize_for_serialization(operator.build_pod_request_obj({}))
    return operator, json.loads(json.dumps(rendered))


def test_both_backends_run_the_same_command_on_their_own_paths():
    process = training_task(Settings(), DATASET)
    _, rendered = pod()
    container = rendered["spec"]["containers"][0]
    assert [*container["command"], *container["args"]] == [
        *("python", "-m", "include.training", "run"),
        *("--dataset", "/data/grocery/2017-12-17", "--result", "/data/grocery/2017-12-17/result.json"),
    ]
    home = Settings().home
    assert process.bash_command.endswith(
        f"-m include.training run --dataset {home}/training/{DATASET} --result {home}/training/{DATASET}/result.json"
    )
    assert process.task_id == "train"


def test_the_pod_is_valid_for_kubernetes():
    _, rendered = pod()
    kubernetes_validate.validate(rendered, "1.33", strict=True)


def test_the_pod_asks_for_what_the_requirements_say():
    operator, rendered = pod()
    container, spec = rendered["spec"]["containers"][0], rendered["spec"]
    assert container["resources"] == {
        "limits": {"nvidia.com/gpu": "2", "cpu": "8", "memory": "32Gi"},
        "requests": {"nvidia.com/gpu": "2", "cpu": "4", "memory": "16Gi"},
    }
    claims = {volume["name"]: volume.get("persistentVolumeClaim") for volume in spec["volumes"]}
    assert claims["training-data"] == {"claimName": "training-data"}
    assert {"name": "training-data", "mountPath": "/data"} in container["volumeMounts"]
    assert spec["restartPolicy"] == "Never"
    assert operator.retries == 3
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["nodeSelector"] == {"accelerator": "nvidia"}


def test_the_pod_is_locked_down_and_gets_its_secrets_by_reference():
    _, rendered = pod()
    container, spec = rendered["spec"]["containers"][0], rendered["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["envFrom"] == [{"secretRef": {"name": "churn-tracking"}}]
    assert {entry["name"] for entry in container["env"]} >= {"CHURN_PROJECT", "CHURN_TRAINING__DEVICE"}


def test_every_number_comes_from_settings():
    _, rendered = pod(gpus=0, cpu_limit="2", memory_limit="4Gi", namespace="elsewhere", image="registry/train:7")
    container = rendered["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "4Gi"}
    assert not rendered["spec"].get("tolerations")
    assert rendered["metadata"]["namespace"] == "elsewhere"
    assert container["image"] == "registry/train:7"
