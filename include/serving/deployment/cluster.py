"""The endpoint's Deployment on Kubernetes: the model of its pods, and the progress of a rolling update."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from include.logs import get_logger
from include.serving.deployment.kubernetes_client import (
    ClusterError,
    ConflictError,
    KubernetesClient,
    UnreachableClusterError,
)
from include.serving.deployment.state import UnavailableStateError

log = get_logger(__name__)

MODEL_VERSION = "churnflow/model-version"
"""The annotation of a pod with the version of its model."""
PROVENANCE = "churnflow/provenance"
"""The annotation of a pod with the signed provenance of its image."""
CHECK = "check-provenance"
"""The init container of the chart that checks the provenance; the chart has it if ``provenance.enabled`` is set."""

_REVISION = "deployment.kubernetes.io/revision"
_POLL_SECONDS = 2.0
_CONFLICTS = 5
_HOPELESS = {
    "InvalidImageName",
    "ErrImageNeverPull",
    "ImagePullBackOff",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
}
"""Reasons for which a container does not start. Kubernetes reports the first two at once, the others after retries."""


class RolloutFailedError(ClusterError):
    """A rollout cannot complete, or is not complete in time."""

    can_retry = True


@dataclass(frozen=True)
class PodModel:
    """The model of a pod.

    Attributes:
        version: The version; empty for an image that no rollout has set.
        image: The image.
        statement: The signed provenance of the image; empty for an image without provenance.
    """

    version: str
    image: str
    statement: str = ""


@dataclass(frozen=True)
class Progress:
    """The state of a rollout.

    Attributes:
        is_complete: Whether all pods run the new template and are ready, and no other pod is left.
        failure: The reason for which the rollout cannot complete; empty if it can.
        text: How many pods are ready.
    """

    is_complete: bool
    failure: str
    text: str


class EndpointDeployment(KubernetesClient):
    """The Deployment of the endpoint."""

    def read(self) -> dict[str, Any]:
        """Return the Deployment as the API describes it.

        Raises:
            ClusterError: The API does not answer, or refuses the request.
        """
        return self._call(self._apps.read_namespaced_deployment, self._settings.deployment)

    def annotate(self, name: str, value: str, read: dict[str, Any]) -> None:
        """Set an annotation of the Deployment, unless another process has changed the annotation since it was read.

        Args:
            name: The annotation.
            value: Its value.
            read: The metadata of the Deployment that was read.

        Raises:
            UnavailableStateError: Another process has changed the annotation.
            ClusterError: The API does not answer, or refuses the request.
        """
        metadata = read
        for _ in range(_CONFLICTS):
            body = {"metadata": {"annotations": {name: value}, "resourceVersion": metadata["resourceVersion"]}}
            try:
                self._call(self._apps.patch_namespaced_deployment, self._settings.deployment, body)
                return
            except ConflictError:
                # Kubernetes itself changes the Deployment during a rolling update: its status and its number of pods.
                metadata = self.read()["metadata"]
            if (metadata.get("annotations") or {}).get(name) != (read.get("annotations") or {}).get(name):
                break
        raise UnavailableStateError(
            "Another process has changed the Deployment at the same time.", where=self.where, remedy="Try again."
        )

    def set_model(self, model: PodModel) -> None:
        """Replace the image of the pods and its provenance, which starts a rolling update.

        Args:
            model: The model.

        Raises:
            ClusterError: The API does not answer, or refuses the request.
        """
        containers = [{"name": self._settings.container, "image": model.image}]
        spec: dict[str, Any] = {"containers": containers}
        if self.checks_provenance():
            digest = {"name": "IMAGE", "value": model.image}
            spec["initContainers"] = [{"name": CHECK, "image": model.image, "env": [digest]}]
        annotations = {MODEL_VERSION: model.version or None, PROVENANCE: model.statement or None}
        body = {"spec": {"template": {"metadata": {"annotations": annotations}, "spec": spec}}}
        self._call(self._apps.patch_namespaced_deployment, self._settings.deployment, body)

    def checks_provenance(self) -> bool:
        """Return whether the pods check the provenance of their image before they serve.

        Raises:
            ClusterError: The API does not answer, or refuses the request.
        """
        found = self.read()["spec"]["template"]["spec"].get("initContainers") or []
        return any(container["name"] == CHECK for container in found)

    def model(self) -> PodModel:
        """Return the model of the pods.

        Raises:
            ClusterError: The API does not answer, or refuses the request.
        """
        return self._model_of(self.read())

    def former_models(self) -> list[PodModel]:
        """Return the models of the kept rollouts, the last first.

        Raises:
            ClusterError: The API does not answer, or refuses the request.
        """
        selector = _selector(self.read())
        found = self._call(self._apps.list_namespaced_replica_set, label_selector=selector)["items"]
        found.sort(key=lambda item: int(_annotations(item).get(_REVISION, 0)), reverse=True)
        return [self._model_of(item) for item in found]

    def _model_of(self, owner: dict[str, Any]) -> PodModel:
        template = owner["spec"]["template"]
        images = {item["name"]: str(item["image"]) for item in template["spec"]["containers"]}
        annotations = _annotations(template)
        return PodModel(
            annotations.get(MODEL_VERSION, ""), images[self._settings.container], annotations.get(PROVENANCE, "")
        )

    def progress(self) -> Progress:
        """Return the state of the last rollout.

        Raises:
            ClusterError: The API does not answer, or refuses the request.
        """
        deployment = self.read()
        wanted, status = deployment["spec"].get("replicas", 1), deployment.get("status") or {}
        total, updated, available = (
            status.get(name) or 0 for name in ("replicas", "updatedReplicas", "availableReplicas")
        )
        text = f"{updated} of {wanted} pods are new, {available} are available, {max(0, total - updated)} are old"
        if (status.get("observedGeneration") or 0) < deployment["metadata"]["generation"]:
            return Progress(False, "", text)
        conditions = {item["type"]: item for item in status.get("conditions") or []}
        progressing, failure = conditions.get("Progressing", {}), conditions.get("ReplicaFailure", {})
        if failure.get("status") == "True":
            return Progress(False, str(failure.get("message") or failure.get("reason")), text)
        if progressing.get("reason") == "ProgressDeadlineExceeded":
            return Progress(False, str(progressing.get("message")), text)
        is_complete = updated == wanted == total == available
        return Progress(is_complete, "" if is_complete else self._hopeless(deployment), text)

    def wait(self, seconds: float) -> None:
        """Wait until the last rollout is complete. While the API does not answer, the wait continues.

        Args:
            seconds: The longest wait.

        Raises:
            RolloutFailedError: The rollout cannot complete, or is not complete in time.
            ClusterError: The API refuses a request.
        """
        deadline, seen = time.monotonic() + seconds, "The API does not answer"
        while True:
            try:
                progress = self.progress()
            except UnreachableClusterError as error:
                log.warning("cluster does not answer", extra={"error": str(error)})
            else:
                if progress.is_complete:
                    return
                if progress.failure:
                    raise self._failed(progress.failure)
                seen = progress.text
            if time.monotonic() > deadline:
                raise self._failed(f"{seen} after {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def _hopeless(self, deployment: dict[str, Any]) -> str:
        """Return why the pods of the new template do not start; empty if they can."""
        version = _annotations(deployment["spec"]["template"]).get(MODEL_VERSION)
        for pod in self._call(self._core.list_namespaced_pod, label_selector=_selector(deployment))["items"]:
            if _annotations(pod).get(MODEL_VERSION) != version:
                continue
            status = pod.get("status") or {}
            for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
                waiting = (container.get("state") or {}).get("waiting") or {}
                ended = (container.get("lastState") or {}).get("terminated") or {}
                if waiting.get("reason") in _HOPELESS:
                    message = (ended.get("message") or waiting.get("message") or "").strip()
                    return f"{pod['metadata']['name']}, container {container['name']}: {waiting['reason']}: {message}"
        return ""

    def _failed(self, what: str) -> RolloutFailedError:
        return RolloutFailedError(
            f"The pods did not come into service: {what}.",
            where=self.where,
            remedy="Read the events and the logs of its pods.",
        )


def _selector(deployment: dict[str, Any]) -> str:
    return ",".join(f"{key}={value}" for key, value in deployment["spec"]["selector"]["matchLabels"].items())


def _annotations(item: dict[str, Any]) -> dict[str, str]:
    return (item.get("metadata") or {}).get("annotations") or {}
