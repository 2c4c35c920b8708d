"""Tuning and training as processes and as pods: the same commands and task ids, and the required resources."""

import json
import subprocess

import kubernetes_validate
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from pydantic import ValidationError

from dags.wiring.training_task import training_task, tuning_task
from include.settings import ROOT, PodSettings, Settings, TrainingSettings

pytestmark = pytest.mark.airflow

DATASET = "grocery/2017-12-17"


CLUSTER = {
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:6443"}}],
    "users": [{"name": "u", "user": {}}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "x",
}


@pytest.fixture(autouse=True)
def kubeconfig(tmp_path, monkeypatch):
    """Write a configuration of a cluster: rendering reads its address and sends no request."""
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(CLUSTER))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))


NO_GPUS = {"gpus": 0, "tuning_gpus": 0}


def kubernetes(**changes):
    described = PodSettings(**changes)
    device = "cuda" if described.gpus else "cpu"
    return Settings(training=TrainingSettings(backend="kubernetes", device=device, workers=3, pod=described))


def render(operator):
    from kubernetes.client import ApiClient

    return json.loads(json.dumps(ApiClient().sanitize_for_serialization(operator.build_pod_request_obj({}))))


def pod(**changes):
    operator = training_task(kubernetes(**changes), DATASET)
    return operator, render(operator)


def worker_pods(**changes):
    mapped = tuning_task(kubernetes(**changes), DATASET)
    workers = [mapped.unmap({"arguments": arguments}) for arguments in mapped.expand_input.value["arguments"]]
    return [render(worker) for worker in workers]


def expanded(command, environment):
    """Return the arguments of a command after the shell has expanded its variables."""
    printed = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {command}"], env=environment, capture_output=True, check=True
    )
    return printed.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize("name", ["$(touch owned)", "`touch owned`", '"; touch owned; "', "'; touch owned; '", "a b"])
def test_name_of_a_dataset_is_one_argument_of_the_command(tmp_path, monkeypatch, name):
    """Users who may trigger runs may also change the XCom that contains the name."""
    monkeypatch.chdir(tmp_path)
    task = training_task(Settings(home=tmp_path / "it's $HOME"), name)
    assert expanded(task.bash_command, task.env)[5] == f"{tmp_path}/it's $HOME/training/{name}"
    assert not (tmp_path / "owned").exists()


def test_both_backends_run_the_same_training_command():
    process = training_task(Settings(), DATASET)
    _, rendered = pod()
    container = rendered["spec"]["containers"][0]
    assert [*container["command"], *container["args"]] == [
        *("python", "-m", "include.training", "run"),
        *("--dataset", "/data/grocery/2017-12-17", "--result", "/data/grocery/2017-12-17/result.json"),
    ]
    folder = Settings().home / "training" / DATASET
    assert expanded(process.bash_command, process.env)[1:] == [
        *("-m", "include.training", "run", "--dataset", str(folder), "--result", str(folder / "result.json"))
    ]
    assert process.task_id == "train"


def test_process_with_an_error_that_a_retry_cannot_fix_fails_with_its_text(tmp_path):
    (tmp_path / "training" / "empty").mkdir(parents=True)
    task = training_task(Settings(home=tmp_path), "empty")
    with pytest.raises(AirflowFailException, match=r"^manifest\.json is missing.*Remedy: Build the data set again\.$"):
        task.execute({})
    task.bash_command = "exit 1"
    with pytest.raises(AirflowException, match="exit code 1") as other:
        task.execute({})
    assert not isinstance(other.value, AirflowFailException)


def test_both_backends_run_the_same_tuning_commands():
    processes = tuning_task(Settings(training=TrainingSettings(workers=3)), DATASET)
    commands = processes.expand_input.value["bash_command"]
    folder = Settings().home / "training" / DATASET
    for number, (command, rendered) in enumerate(zip(commands, worker_pods(), strict=True)):
        container = rendered["spec"]["containers"][0]
        assert [*container["command"], *container["args"]] == [
            *("python", "-m", "include.training", "tune"),
            *("--dataset", "/data/grocery/2017-12-17", "--worker", str(number)),
        ]
        assert expanded(command, processes.partial_kwargs["env"])[1:] == [
            *("-m", "include.training", "tune", "--dataset", str(folder), "--worker", str(number))
        ]
    assert processes.task_id == tuning_task(kubernetes(), DATASET).task_id == "tune"


@pytest.mark.parametrize("version", ["1.33", "1.35"])
def test_pods_are_valid_for_kubernetes(version):
    labels = {"example.com/cost-centre": "42"}
    for rendered in (pod(labels=labels)[1], pod(**NO_GPUS)[1], *worker_pods(labels=labels)):
        kubernetes_validate.validate(rendered, version, strict=True)


def test_pod_has_the_configured_resources():
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


def test_worker_pod_requests_one_gpu():
    (resources, *_) = [rendered["spec"]["containers"][0]["resources"] for rendered in worker_pods()]
    assert resources["limits"] == {"nvidia.com/gpu": "1", "cpu": "8", "memory": "32Gi"}
    (resources, *_) = [rendered["spec"]["containers"][0]["resources"] for rendered in worker_pods(**NO_GPUS)]
    assert "nvidia.com/gpu" not in resources["limits"] | resources["requests"]


def test_labels_allow_cost_allocation():
    changes = {"team": "growth", "labels": {"example.com/cost-centre": "42"}}
    for component, rendered in (("training", pod(**changes)[1]), ("tuning", worker_pods(**changes)[0])):
        assert (
            rendered["metadata"]["labels"].items()
            >= {
                "app.kubernetes.io/name": f"churn-{component}",
                "app.kubernetes.io/component": component,
                "app.kubernetes.io/part-of": "churnflow",
                "churnflow/project": "grocery",
                "churnflow/team": "growth",
                "example.com/cost-centre": "42",
            }.items()
        )
        assert rendered["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"


def test_rejects_invalid_kubernetes_label():
    with pytest.raises(ValidationError, match="team"):
        PodSettings(team="the growth team")


def test_pod_is_restricted_and_references_its_secrets():
    _, rendered = pod()
    container, spec = rendered["spec"]["containers"][0], rendered["spec"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["envFrom"] == [{"secretRef": {"name": "churn-tracking"}}]
    assert environment.keys() >= {"CHURN_PROJECT", "CHURN_TRAINING__DEVICE"}
    (scratch,) = [volume["name"] for volume in spec["volumes"] if "emptyDir" in volume]
    user = spec["securityContext"]["runAsUser"]
    assert f"USER {user}:{user}" in (ROOT / "Dockerfile").read_text().split(" AS training\n")[1].split("\nFROM ")[0]
    assert {"name": scratch, "mountPath": environment["HOME"]} in container["volumeMounts"]


def test_pod_numbers_come_from_settings():
    _, rendered = pod(**NO_GPUS, cpu_limit="2", memory_limit="4Gi", namespace="elsewhere", image="registry/train:7")
    container = rendered["spec"]["containers"][0]
    assert container["resources"]["limits"] == {"cpu": "2", "memory": "4Gi"}
    assert not rendered["spec"].get("tolerations")
    assert rendered["metadata"]["namespace"] == "elsewhere"
    assert container["image"] == "registry/train:7"
