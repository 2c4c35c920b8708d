"""A pod of the simulated cluster: its command as a process, and its status as Kubernetes reports it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import signal
import sys
import uuid
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any

from include.settings import ROOT

# The image's variables; the test's environment is not inherited.
IMAGE = {
    "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class Fate(Enum):
    """The fate of a pod."""

    RUNS = auto()
    """Its command runs until its active deadline at most; the exit code determines the phase."""
    IS_EVICTED = auto()
    """The node evicts the pod after its first line of output, once a client has read that it is running."""
    FINDS_NO_NODE = auto()
    FINDS_NO_IMAGE = auto()
    VANISHES = auto()
    """The pod is removed as soon as its end was read."""


@dataclass
class Cluster:
    """The environment of the pods.

    Attributes:
        scratch: The parent folder of the pods' empty volumes.
        claims: The folder of each claim.
        secrets: The keys and values of each secret.
        image: The image's working directory, with ``include/``.
    """

    scratch: Path
    claims: dict[str, Path] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    image: Path = ROOT


class Pod:
    """A pod with one container.

    Args:
        manifest: The manifest of the create request.
        cluster: The environment of the pods.
        fate: The fate of the pod.
    """

    def __init__(self, manifest: dict[str, Any], cluster: Cluster, fate: Fate) -> None:
        self.manifest = manifest
        self.cluster = cluster
        self.fate = fate
        self.log: list[tuple[dt.datetime, bytes]] = []
        self.read_while_running = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._ended_for: dict[str, str] = {}
        self._state: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
        manifest["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": now(), "resourceVersion": "1"}

    @property
    def name(self) -> str:
        """Its unique name."""
        return str(self.manifest["metadata"]["name"])

    @property
    def labels(self) -> dict[str, str]:
        """Its labels; a patch request changes them."""
        labels: dict[str, str] = self.manifest["metadata"].setdefault("labels", {})
        return labels

    @property
    def phase(self) -> str:
        """``Pending``, ``Running``, ``Succeeded`` or ``Failed``."""
        if "waiting" in self._state:
            return "Pending"
        if "running" in self._state:
            return "Running"
        return "Failed" if self._ended_for or self._state["terminated"]["exitCode"] else "Succeeded"

    @property
    def ended(self) -> bool:
        """Whether its container has terminated."""
        return "terminated" in self._state

    def as_dict(self) -> dict[str, Any]:
        """Return the pod as the API returns it."""
        status: dict[str, Any] = {"phase": self.phase, "startTime": self.manifest["metadata"]["creationTimestamp"]}
        if self.fate is Fate.FINDS_NO_NODE:
            reason = {"reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."}
            return self.manifest | {"status": status | {"conditions": [_scheduled("False") | reason]}}
        status |= self._ended_for
        container = {
            "name": self._container["name"],
            "image": self._container["image"],
            "imageID": "",
            "ready": "running" in self._state,
            "restartCount": 0,
            "state": self._state,
        }
        return self.manifest | {
            "status": status | {"conditions": [_scheduled("True")], "containerStatuses": [container]}
        }

    async def run(self) -> None:
        """Run the container to its end, if the pod starts."""
        obstacle = self._obstacle()
        if obstacle:
            self._state = {"waiting": obstacle}
            return
        self._state = {"running": {"startedAt": now()}}
        self._process = await asyncio.create_subprocess_exec(
            *(self._here(part) for part in [*self._container["command"], *self._container["args"]]),
            env=IMAGE | {"PYTHONPATH": str(self.cluster.image)} | self._variables(),
            cwd=self.cluster.image,
            start_new_session=True,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        deadline: asyncio.TimerHandle | None = None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.log.append((dt.datetime.now(dt.UTC), line))
            # From the first line on: the time to start an interpreter depends on the machine.
            deadline = deadline or asyncio.get_running_loop().call_later(
                self.manifest["spec"]["activeDeadlineSeconds"],
                self._end,
                "DeadlineExceeded",
                "Pod was active on the node longer than the specified deadline",
            )
            if self.fate is Fate.IS_EVICTED:
                await self.read_while_running.wait()
                self._end("Evicted", "The node was low on resource: memory.")
        code = await self._process.wait()
        if deadline:
            deadline.cancel()
        code = 128 - code if code < 0 else code  # a signal, as a container runtime reports it
        self._state = {"terminated": {"exitCode": code, "reason": "Error" if code else "Completed"}}
        self._state["terminated"] |= {"startedAt": now(), "finishedAt": now()}
        if code:  # the policy FallbackToLogsOnError
            self._state["terminated"]["message"] = b"".join(line for _, line in self.log).decode()[-2048:]

    def kill(self) -> None:
        """Kill the container's processes."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _end(self, reason: str, message: str) -> None:
        self._ended_for = {"reason": reason, "message": message}
        self.kill()

    @property
    def _container(self) -> dict[str, Any]:
        container: dict[str, Any] = self.manifest["spec"]["containers"][0]
        return container

    def _obstacle(self) -> dict[str, str] | None:
        if self.fate is Fate.FINDS_NO_NODE:
            return {"reason": "Pending"}
        if self.fate is Fate.FINDS_NO_IMAGE:
            return {"reason": "ErrImagePull", "message": f"{self._container['image']}: not found"}
        missing = [name for name in self._secrets() if name not in self.cluster.secrets]
        return {"reason": "CreateContainerConfigError", "message": f"secret {missing} not found"} if missing else None

    def _secrets(self) -> list[str]:
        return [source["secretRef"]["name"] for source in self._container.get("envFrom") or []]

    def _variables(self) -> dict[str, str]:
        secret = {key: value for name in self._secrets() for key, value in self.cluster.secrets[name].items()}
        return secret | {item["name"]: self._here(item.get("value", "")) for item in self._container["env"]}

    def _here(self, text: str) -> str:
        """Return the local path of a path on a mounted volume; other texts are unchanged."""
        for mount in self._container["volumeMounts"]:
            path = mount["mountPath"]
            if text == path or text.startswith(f"{path}/"):
                return f"{self._folder(mount['name'])}{text.removeprefix(path)}"
        return text

    def _folder(self, volume: str) -> Path:
        (described,) = [item for item in self.manifest["spec"]["volumes"] if item["name"] == volume]
        if "persistentVolumeClaim" in described:
            return self.cluster.claims[described["persistentVolumeClaim"]["claimName"]]
        folder = self.cluster.scratch / self.name / volume
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def now() -> str:
    """Return the current time in the API's format."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _scheduled(status: str) -> dict[str, str]:
    return {"type": "PodScheduled", "status": status}
