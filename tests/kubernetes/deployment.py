"""A simulated Deployment with the Kubernetes API that ``churn_deploy`` uses, and the Service in front of its pods.

The manifest and the rights are those of the chart. The controller works when the Deployment is read, so that a test
does not depend on time. Each Deployment, ReplicaSet and pod is validated against the schemas of two Kubernetes
versions. The init containers of a pod run as processes.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.http_servers import StubHandler, stub
from tests.infra.charts import require_valid
from tests.kubernetes.init_container import Node
from tests.kubernetes.protocol import TOKEN, failure, kubeconfig

ROLLOUTS, REVISION = "churnflow/rollouts", "deployment.kubernetes.io/revision"
_DEADLINE_STEPS = 10
_ANNOTATION_BYTES = 256 * 1024
"""The API's limit on the annotations of an object."""


class Fate(Enum):
    """The fate of the pods of an image."""

    READY = auto()
    NEVER_READY = auto()
    NO_IMAGE = auto()
    QUOTA = auto()
    EVICTED = auto()
    """One pod is evicted in the middle of the rollout."""


@dataclass
class SimulatedPod:
    """A pod with the template of a revision."""

    name: str
    revision: str
    template: dict[str, Any]
    is_ready: bool = False
    age: int = 0
    failure: str = ""
    """The end of the log of an init container that failed."""


@dataclass
class SimulatedDeployment:
    """The state of the cluster.

    Attributes:
        deployment: The Deployment.
        role: The role of the requests.
        fates: The fate of the pods of an image; READY by default.
        health: What a pod answers at ``/health``, by its image.
        fails: The number of the next requests to the API that are answered with 503.
        changed: Another process changes the record of the rollouts before this number of further patches.
        updated: Kubernetes changes the status of the Deployment before this number of further patches.
        node: What the init containers of the pods find.
        refused: The requests that were refused: the verb and the resource.
        steps: The number of steps of the controller at each read of the Deployment.
    """

    deployment: dict[str, Any]
    role: dict[str, Any]
    fates: dict[str, Fate] = field(default_factory=dict)
    health: dict[str, dict[str, str]] = field(default_factory=dict)
    fails: int = 0
    changed: int = 0
    updated: int = 0
    node: Node = field(default_factory=Node)
    refused: list[str] = field(default_factory=list)
    pods: list[SimulatedPod] = field(default_factory=list)
    replica_sets: dict[str, dict[str, Any]] = field(default_factory=dict)
    port: int = 0
    steps: int = 1

    def __post_init__(self) -> None:
        self._names, self._versions = itertools.count(1), itertools.count(1)
        self._idle, self._has_evicted, self._turn, self._last = 0, False, 0, ""
        self._numbers, self._revisions = itertools.count(1), dict[str, int]()
        self._touch(new_generation=True)
        self.deployment.setdefault("status", {})
        while not self._is_complete():
            self.step()
            assert not any(pod.failure for pod in self.pods), self.pods[0].failure

    @property
    def image(self) -> str:
        """The image of the template."""
        return str(self.deployment["spec"]["template"]["spec"]["containers"][0]["image"])

    def serving_images(self) -> list[str]:
        """Return the image of each ready pod."""
        return [pod.template["spec"]["containers"][0]["image"] for pod in self.pods if pod.is_ready]

    def step(self) -> None:
        """Do one step of the rolling update with ``maxSurge: 1`` and ``maxUnavailable: 0``."""
        spec, fate = self.deployment["spec"], self.fates.get(self.image, Fate.READY)
        template, wanted = spec["template"], spec["replicas"]
        revision = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
        if revision not in self.replica_sets:
            self.replica_sets[revision] = copy.deepcopy(template)
        if self._last != revision:
            self._last = revision
            self._revisions[revision] = next(self._numbers)
        new = [pod for pod in self.pods if pod.revision == revision]
        old = [pod for pod in self.pods if pod.revision != revision]
        for pod in new:
            pod.age += 1
        before = [(pod.name, pod.is_ready) for pod in self.pods]
        starting = [pod for pod in new if not pod.is_ready]
        if starting and fate in (Fate.READY, Fate.EVICTED):
            starting[0].failure = self.node.run(template)
            starting[0].is_ready = not starting[0].failure
        elif fate is Fate.EVICTED and len(new) > 1 and not self._has_evicted:
            self._has_evicted = True
            self.pods.remove(new[0])
        elif sum(pod.is_ready for pod in self.pods) > wanted or (old and not starting and len(new) >= wanted):
            self.pods.remove(old[0])
        elif len(new) < wanted and len(self.pods) < wanted + 1 and fate is not Fate.QUOTA:
            name = f"{self.deployment['metadata']['name']}-{revision}-{next(self._names)}"
            self.pods.append(SimulatedPod(name, revision, copy.deepcopy(template)))
        self._idle = 0 if before != [(pod.name, pod.is_ready) for pod in self.pods] else self._idle + 1
        self._write_status(revision, fate)

    def _write_status(self, revision: str, fate: Fate) -> None:
        conditions = [{"type": "Available", "status": "True"}]
        late = self._idle > _DEADLINE_STEPS and not self._is_complete()
        progressing = {"type": "Progressing", "status": "False" if late else "True"}
        progressing |= {"reason": "ProgressDeadlineExceeded" if late else "ReplicaSetUpdated"}
        conditions.append(progressing | {"message": f'ReplicaSet "{revision}" has timed out progressing.'})
        if fate is Fate.QUOTA:
            message = 'pods "churn-serving" is forbidden: exceeded quota: compute, requested: cpu=1, used: cpu=3'
            failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
            conditions.append(failure)
        self.deployment["status"] = {
            "observedGeneration": self.deployment["metadata"]["generation"],
            "replicas": len(self.pods),
            "updatedReplicas": sum(pod.revision == revision for pod in self.pods),
            "availableReplicas": sum(pod.is_ready for pod in self.pods),
            "conditions": conditions,
        }

    def _is_complete(self) -> bool:
        wanted = self.deployment["spec"]["replicas"]
        images = self.serving_images()
        return len(self.pods) == len(images) == wanted and set(images) == {self.image}

    def _touch(self, *, new_generation: bool) -> None:
        metadata = self.deployment["metadata"]
        metadata["resourceVersion"] = str(next(self._versions))
        metadata["generation"] = metadata.get("generation", 0) + new_generation

    def patch(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Apply a strategic merge patch, and return the status and the answer."""
        if self.changed:
            self.changed -= 1
            annotations = self.deployment["metadata"].setdefault("annotations", {})
            record = json.loads(annotations.get(ROLLOUTS, '{"next": 1, "rollouts": []}'))
            annotations[ROLLOUTS] = json.dumps(record | {"next": record["next"] + 1})
            self._touch(new_generation=False)
        if self.updated:
            self.updated -= 1
            self._touch(new_generation=False)
        wanted = body.get("metadata", {}).pop("resourceVersion", None)
        if wanted is not None and wanted != self.deployment["metadata"]["resourceVersion"]:
            return 409, failure(409, "the object has been modified")
        changed = _merged(self.deployment, body)
        self._validate(changed)
        new_generation = changed["spec"] != self.deployment["spec"]
        self.deployment, self._idle = changed, 0
        self._has_evicted = self._has_evicted and not new_generation
        self._touch(new_generation=new_generation)
        return 200, self.deployment

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """Return the status and the answer of a request to the API."""
        if self.fails:
            self.fails -= 1
            return 503, failure(503, "the server is currently unable to handle the request")
        parts = urlsplit(path)
        group, _, rest = parts.path.partition("/namespaces/")
        namespace, resource, *name = rest.split("/")
        verb = {"PATCH": "patch", "GET": "get" if name else "list"}[method]
        if namespace != self.deployment["metadata"]["namespace"] or not self._allows(group, resource, verb, name):
            self.refused.append(f"{verb} {resource}")
            return 403, failure(403, f"cannot {verb} resource {resource}")
        if method == "PATCH":
            return self.patch(json.loads(body))
        selector = dict(
            term.split("=") for term in parse_qs(parts.query).get("labelSelector", [""])[0].split(",") if term
        )
        if resource == "deployments":
            if name != [self.deployment["metadata"]["name"]]:
                return 404, failure(404, "not found")
            for _ in range(self.steps):
                self.step()
            return 200, self._validate(self.deployment)
        labels = self.deployment["spec"]["template"]["metadata"]["labels"]
        items = [self._validate(item) for item in (self._pods() if resource == "pods" else self._replica_sets())]
        return 200, {"items": items if selector.items() <= labels.items() else []}

    def answer_health(self) -> tuple[int, dict[str, Any]]:
        """Return the answer of one of the ready pods."""
        images = self.serving_images()
        self._turn += 1
        return (200, self.health[images[self._turn % len(images)]]) if images else (503, {})

    @staticmethod
    def _validate(item: dict[str, Any]) -> dict[str, Any]:
        """Return an object if it is valid."""
        require_valid(item)
        for metadata in (item["metadata"], item["spec"].get("template", {}).get("metadata", {})):
            annotations = metadata.get("annotations", {})
            assert sum(len(key) + len(value) for key, value in annotations.items()) <= _ANNOTATION_BYTES
        return item

    def _allows(self, group: str, resource: str, verb: str, name: list[str]) -> bool:
        api_group = "" if group == "/api/v1" else group.split("/")[2]
        return any(
            api_group in rule["apiGroups"]
            and resource in rule["resources"]
            and verb in rule["verbs"]
            and ("resourceNames" not in rule or name[:1] == rule["resourceNames"])
            for rule in self.role["rules"]
        )

    def _pods(self) -> list[dict[str, Any]]:
        return [
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": pod.name} | pod.template["metadata"],
                "spec": pod.template["spec"],
                "status": self._pod_status(pod),
            }
            for pod in self.pods
        ]

    def _pod_status(self, pod: SimulatedPod) -> dict[str, Any]:
        state: dict[str, Any] = {"running": {}}
        last: dict[str, Any] = {}
        if not pod.is_ready and self.fates.get(self.image) is Fate.NO_IMAGE:
            reason = "ImagePullBackOff" if pod.age > 3 else "ErrImagePull"
            state = {"waiting": {"reason": reason, "message": f"{self.image}: not found"}}
        elif pod.failure:
            state = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}
            last = {"terminated": {"exitCode": 1, "reason": "Error", "message": pod.failure}}
        common = {"imageID": "", "restartCount": 0, "ready": pod.is_ready, "state": state, "lastState": last}
        spec = pod.template["spec"]
        first = "initContainers" if spec.get("initContainers") else "containers"
        statuses = [{"name": item["name"], "image": item["image"]} | common for item in spec[first]]
        return {"initContainerStatuses" if first == "initContainers" else "containerStatuses": statuses}

    def _replica_sets(self) -> list[dict[str, Any]]:
        return [
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {"name": name, "annotations": {REVISION: str(self._revisions[name])}},
                "spec": {"selector": self.deployment["spec"]["selector"], "template": template},
            }
            for name, template in self.replica_sets.items()
        ]


@contextmanager
def serving(cluster: SimulatedDeployment, kubeconfig_file: Path) -> Iterator[None]:
    """Serve the API and the Service on one port while the block runs, and write the client's configuration."""

    class Handler(StubHandler):
        def respond(self) -> None:
            if self.path == "/health":
                status, content = cluster.answer_health()
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                status, content = 401, failure(401, "Unauthorized")
            else:
                status, content = cluster.answer(self.command, self.path, self.body())
            self.answer(json.dumps(content).encode(), status)

    with stub(Handler) as port:
        cluster.port = port
        kubeconfig_file.write_text(json.dumps(kubeconfig(f"http://127.0.0.1:{port}")))
        yield


def _merged(target: Any, patch: Any) -> Any:
    """Return a strategic merge: mappings by key, lists of containers by name, other values replaced."""
    if isinstance(patch, dict):
        merged = dict(target) if isinstance(target, dict) else {}
        for key, value in patch.items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = _merged(merged.get(key), value)
        return merged
    if isinstance(target, list) and isinstance(patch, list):
        found = {item["name"]: item for item in patch}
        return [_merged(item, found.pop(item["name"], item)) for item in target] + list(found.values())
    return copy.deepcopy(patch)
