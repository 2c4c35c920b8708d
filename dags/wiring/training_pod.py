"""The pods that tune and train: what they ask for, what they may do, and what becomes of them."""

from __future__ import annotations

from typing import Any, Literal

from airflow.providers.cncf.kubernetes.callbacks import KubernetesPodOperatorCallback
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client import CoreV1Api
from kubernetes.client import models as k8s
from kubernetes.client.exceptions import ApiException

from include.settings import PodSettings, Settings
from include.training.commands import SCRATCH, pod_environment

USER = 10001
"""The user of the image ``training``; a number, because Kubernetes cannot tell from a name that it is not root."""

# Cluster Autoscaler and Karpenter leave the node alone until the pod has ended: what was computed since the last
# finished trial would be lost.
_ANNOTATIONS = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}


class TrainingPodOperator(KubernetesPodOperator):
    """Runs a pod, and fails for good when it ran into its active deadline: the next try would end the same way.

    No callback of the provider can say so: while it cleans up, it raises an error of its own over theirs.
    """

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on when the trigger has seen something.

        Raises:
            AirflowFailException: The pod ran longer than it may.
            AirflowException: It failed in another way.
        """
        try:
            return super().trigger_reentry(context, event)
        except AirflowException as error:
            if self.pod is None or self.pod.status.reason != "DeadlineExceeded":
                raise
            raise AirflowFailException(
                f"The pod {self.pod.metadata.name} ran for {self.active_deadline_seconds} s, which is all that it may. "
                "Remedy: raise CHURN_TRAINING__POD__ACTIVE_DEADLINE_SECONDS and clear the task; trials that were "
                "finished are kept."
            ) from error


class DeleteUnstarted(KubernetesPodOperatorCallback):
    """Delete a pod that is given up before it started.

    A pod that has failed is kept for whoever looks into it. One that still waits, for a node or an image, would start
    later and work beside the pod of the next try.
    """

    @staticmethod
    def on_pod_teardown(*, pod: k8s.V1Pod, client: CoreV1Api, **_: Any) -> None:
        """Delete the pod if it is pending."""
        if pod.status.phase != "Pending":
            return
        try:
            client.delete_namespaced_pod(pod.metadata.name, pod.metadata.namespace)
        except ApiException as error:
            if error.status != 404:
                raise


def pod_arguments(settings: Settings, component: Literal["tuning", "training"], gpus: int) -> dict[str, Any]:
    """Return the arguments of a ``TrainingPodOperator``, without the task's id and the command.

    Args:
        settings: Describe the pod.
        component: What it does; part of its name and labels.
        gpus: How many GPUs it gets.
    """
    pod = settings.training.pod
    return {
        "name": f"churn-{component}",
        "namespace": pod.namespace,
        "image": pod.image,
        "service_account_name": pod.service_account,
        "automount_service_account_token": False,
        "labels": _labels(settings, component),
        "annotations": _ANNOTATIONS,
        "env_vars": pod_environment(settings),
        "env_from": [k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=pod.tracking_env_from))],
        **_placement(pod, gpus),
        **_storage(pod),
        **_confinement(),
        **_life(pod),
    }


def _labels(settings: Settings, component: str) -> dict[str, str]:
    return settings.training.pod.labels | {
        "app.kubernetes.io/name": f"churn-{component}",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "churnflow",
        "app.kubernetes.io/managed-by": "airflow",
        "churnflow/project": settings.project,
        "churnflow/team": settings.training.pod.team,
    }


def _placement(pod: PodSettings, gpus: int) -> dict[str, Any]:
    share = {pod.gpu_resource: str(gpus)} if gpus else {}  # request and limit of a GPU must be the same
    return {
        "container_resources": k8s.V1ResourceRequirements(
            requests={"cpu": pod.cpu_request, "memory": pod.memory_request} | share,
            limits={"cpu": pod.cpu_limit, "memory": pod.memory_limit} | share,
        ),
        "node_selector": pod.node_selector if gpus else {},
        "tolerations": [k8s.V1Toleration(key=pod.gpu_resource, operator="Exists", effect="NoSchedule")] if gpus else [],
    }


def _storage(pod: PodSettings) -> dict[str, Any]:
    claim = k8s.V1PersistentVolumeClaimVolumeSource(claim_name=pod.data_claim)
    return {
        "volumes": [
            k8s.V1Volume(name="training-data", persistent_volume_claim=claim),
            k8s.V1Volume(name="scratch", empty_dir=k8s.V1EmptyDirVolumeSource()),
        ],
        "volume_mounts": [
            k8s.V1VolumeMount(name="training-data", mount_path=pod.data_path),
            k8s.V1VolumeMount(name="scratch", mount_path=SCRATCH),
        ],
    }


def _confinement() -> dict[str, Any]:
    return {
        "security_context": k8s.V1PodSecurityContext(
            run_as_non_root=True,
            run_as_user=USER,
            run_as_group=USER,
            fs_group=USER,
            seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
        ),
        "container_security_context": k8s.V1SecurityContext(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            capabilities=k8s.V1Capabilities(drop=["ALL"]),
        ),
    }


def _life(pod: PodSettings) -> dict[str, Any]:
    return {
        "deferrable": True,
        "retries": pod.retries,
        "startup_timeout_seconds": pod.startup_timeout_seconds,
        "active_deadline_seconds": pod.active_deadline_seconds,
        "on_finish_action": "delete_succeeded_pod",
        "callbacks": [DeleteUnstarted],
        "get_logs": True,
        "logging_interval": 60,
        "log_events_on_failure": True,
        "log_pod_spec_on_failure": False,
        "termination_message_policy": "FallbackToLogsOnError",
        "do_xcom_push": False,
    }
