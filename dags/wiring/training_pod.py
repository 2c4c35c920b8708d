"""The Kubernetes pods of tuning and training: resources, permissions and life cycle."""

from __future__ import annotations

from typing import Any, Literal

from airflow.providers.cncf.kubernetes.callbacks import KubernetesPodOperatorCallback
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from kubernetes.client import CoreV1Api
from kubernetes.client import models as k8s
from kubernetes.client.exceptions import ApiException

from include.command_line import EXIT_NO_RETRY
from include.settings import PodSettings, Settings
from include.training.commands import SCRATCH, pod_environment

USER = 10001
"""The user of the image ``training``; numeric, because Kubernetes cannot verify that a named user is not root."""

# Keep Cluster Autoscaler and Karpenter from evicting the pod: the work since the last finished trial would be lost.
_ANNOTATIONS = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true"}


class TrainingPodOperator(KubernetesPodOperator):
    """A pod operator that fails without a retry if a retry cannot help.

    A retry cannot help if the pod exceeded its active deadline, or if its command exited with ``EXIT_NO_RETRY``.

    A callback of the provider cannot prevent the retry, since the provider's clean-up replaces the callback's error.
    """

    def trigger_reentry(self, context: Context, event: dict[str, Any]) -> Any:
        """Resume after an event of the trigger.

        Args:
            context: The task's context.
            event: The trigger's event.

        Raises:
            AirflowFailException: The pod exceeded its active deadline, or its command failed with an error that a retry
                cannot fix.
            AirflowException: The pod failed for another reason.
        """
        try:
            return super().trigger_reentry(context, event)
        except AirflowException as error:
            if self.pod is None:
                raise
            ended = _termination(self.pod)
            if ended is not None and ended.exit_code == EXIT_NO_RETRY:
                output = (ended.message or "").strip() or str(error)
                raise AirflowFailException(output.splitlines()[-1]) from error
            if self.pod.status.reason != "DeadlineExceeded":
                raise
            raise AirflowFailException(
                f"The pod {self.pod.metadata.name} exceeded its active deadline of {self.active_deadline_seconds} s. "
                "Remedy: raise CHURN_TRAINING__POD__ACTIVE_DEADLINE_SECONDS and clear the task; finished trials are "
                "stored."
            ) from error


def _termination(pod: k8s.V1Pod) -> k8s.V1ContainerStateTerminated | None:
    """Return how the command of a pod ended; None if it has not ended."""
    states = [status.state for status in pod.status.container_statuses or []]
    return next((state.terminated for state in states if state and state.terminated), None)


class DeleteUnstarted(KubernetesPodOperatorCallback):
    """Delete a pod that did not start in time.

    A failed pod is kept for inspection. A pod that still waits for a node or an image could start later and run in
    parallel with the pod of the retry.
    """

    @staticmethod
    def on_pod_teardown(*, pod: k8s.V1Pod, client: CoreV1Api, **_: Any) -> None:
        """Delete the pod if it is pending.

        Args:
            pod: The pod.
            client: The client of the cluster.
        """
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
        settings: The settings of the pod.
        component: The component, for its name and labels.
        gpus: Number of GPUs.
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
        **_life(settings),
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


def _life(settings: Settings) -> dict[str, Any]:
    pod = settings.training.pod
    return {
        "deferrable": True,
        "retries": pod.retries,
        "startup_timeout_seconds": pod.startup_timeout_seconds,
        "active_deadline_seconds": pod.active_deadline_seconds,
        "execution_timeout": settings.tasks.training_timeout,
        "on_finish_action": "delete_succeeded_pod",
        "callbacks": [DeleteUnstarted],
        "get_logs": True,
        "logging_interval": 60,
        "log_events_on_failure": True,
        "log_pod_spec_on_failure": False,
        "termination_message_policy": "FallbackToLogsOnError",
        "do_xcom_push": False,
    }
