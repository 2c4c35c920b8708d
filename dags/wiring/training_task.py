"""The training task: one command, run as a process on this machine or in a Kubernetes pod, by one setting."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

from include.settings import ROOT, PodSettings, Settings

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

TASK_ID = "train"
RESULT = "result.json"
"""The file in the data set's folder through which the training hands its result over."""


def training_task(settings: Settings, dataset: str) -> BaseOperator:
    """Return the operator that trains.

    Args:
        settings: Choose the backend and describe the pod.
        dataset: The data set's name; a template of it is rendered when the task runs.
    """
    from include.training.pod import dataset_as_seen, training_command, training_environment

    folder = dataset_as_seen(settings, dataset)
    if settings.training.backend == "kubernetes":
        return _pod(settings, training_command(folder, f"{folder}/{RESULT}"))
    from airflow.providers.standard.operators.bash import BashOperator

    command = training_command(folder, f"{folder}/{RESULT}", python=sys.executable)
    # Paths come from settings; the templates in them hold Airflow's own values.
    text = " ".join(f'"{part}"' if "{{" in part else shlex.quote(part) for part in command)
    return BashOperator(
        task_id=TASK_ID, bash_command=text, env=training_environment(settings), append_env=True, cwd=str(ROOT)
    )


def _pod(settings: Settings, command: list[str]) -> BaseOperator:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from kubernetes.client import models as k8s

    from include.training.pod import training_environment

    pod = settings.training.pod
    return KubernetesPodOperator(
        task_id=TASK_ID,
        name="churn-training",
        namespace=pod.namespace,
        image=pod.image,
        cmds=command[:1],
        arguments=command[1:],
        env_vars=training_environment(settings),
        env_from=[k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=pod.tracking_env_from))],
        service_account_name=pod.service_account,
        container_resources=k8s.V1ResourceRequirements(requests=_requests(pod), limits=_limits(pod)),
        node_selector=pod.node_selector if pod.gpus else None,
        tolerations=_tolerations(pod),
        volumes=[
            k8s.V1Volume(
                name="training-data",
                persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name=pod.data_claim),
            ),
            k8s.V1Volume(name="tmp", empty_dir=k8s.V1EmptyDirVolumeSource()),
        ],
        volume_mounts=[
            k8s.V1VolumeMount(name="training-data", mount_path=pod.data_path),
            k8s.V1VolumeMount(name="tmp", mount_path="/tmp"),  # noqa: S108 - the container's own scratch volume
        ],
        security_context=k8s.V1PodSecurityContext(
            run_as_non_root=True,
            run_as_user=1000,
            fs_group=1000,
            seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
        ),
        container_security_context=k8s.V1SecurityContext(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            capabilities=k8s.V1Capabilities(drop=["ALL"]),
        ),
        full_pod_spec=k8s.V1Pod(
            spec=k8s.V1PodSpec(
                containers=[], restart_policy="Never", active_deadline_seconds=pod.active_deadline_seconds
            )
        ),
        labels={"app": "churnflow", "component": "training", "project": settings.project},
        retries=pod.retries,
        startup_timeout_seconds=pod.startup_timeout_seconds,
        on_finish_action="delete_succeeded_pod",
        get_logs=True,
        do_xcom_push=False,
    )


def _requests(pod: PodSettings) -> dict[str, str]:
    return {"cpu": pod.cpu_request, "memory": pod.memory_request} | _gpus(pod)


def _limits(pod: PodSettings) -> dict[str, str]:
    return {"cpu": pod.cpu_limit, "memory": pod.memory_limit} | _gpus(pod)


def _gpus(pod: PodSettings) -> dict[str, str]:
    return {pod.gpu_resource: str(pod.gpus)} if pod.gpus else {}


def _tolerations(pod: PodSettings) -> list[Any]:
    from kubernetes.client import models as k8s

    if not pod.gpus:
        return []
    return [k8s.V1Toleration(key=pod.gpu_resource, operator="Exists", effect="NoSchedule")]
