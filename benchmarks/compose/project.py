"""Start the services of ``docker-compose.yaml`` in their order, check their health, and stop them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from dotenv import dotenv_values

from benchmarks.figures import report
from benchmarks.local_stack import free_ports
from include.settings import ROOT
from local.compose_secrets import complete
from local.containers.base_image import base_image, build_options
from local.containers.engine import Engine, EngineError
from local.containers.images import build_image

STAND_INS = Path(__file__).parent / "stand_ins"
_PORTS = ("AIRFLOW_PORT", "MLFLOW_PORT", "ENDPOINT_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "GRAFANA_PORT")
_HEALTHY_SECONDS = 420.0
_INIT_SECONDS = 300.0
_POLL_SECONDS = 2.0


class ComposeProject:
    """The services of ``docker-compose.yaml`` as containers, with their own volumes, secrets and ports.

    Args:
        engine: The container engine.
        name: The name of the project.
        folder: The folder of the secrets.
        landing: The folder of the source files.

    Attributes:
        left_out: The services whose image can neither be pulled nor built here.
        variables: The values of the variables of ``docker-compose.yaml``.
    """

    def __init__(self, engine: Engine, name: str, folder: Path, landing: Path) -> None:
        self.engine = engine
        self.left_out: list[str] = []
        self._name = name
        self._file = folder / ".env"
        complete(ROOT / ".env.example", self._file, landing)
        ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
        self.variables = {name: value or "" for name, value in dotenv_values(self._file).items()}
        self.variables |= {port: str(number) for port, number in ports.items()}
        self._file.write_text("".join(f"{variable}={value}\n" for variable, value in self.variables.items()))
        self.services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]

    def prepare_images(self) -> None:
        """Build the image of Airflow, and pull the images of other projects, or build stand-ins for them.

        Raises:
            EngineError: A build failed.
        """
        base = base_image(self.engine)
        build_image(self.engine, "airflow")
        targets = (STAND_INS / "Dockerfile").read_text()
        for service, definition in self.services.items():
            image = definition["image"]
            if image.startswith("churnflow-") or self.engine.pull(image):
                continue
            if f" AS {service}\n" in targets:
                report(f"{image} cannot be pulled: building a stand-in ...")
                self.engine.build(STAND_INS, f"localhost/{image}", "--target", service, *build_options(base))
            else:
                self.left_out.append(service)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the services in the order of their dependencies, and remove them with their volumes at the end.

        Raises:
            EngineError: A service did not start or is not healthy.
        """
        try:
            for stage in self._stages():
                report(f"Starting {', '.join(stage)} ...")
                self._compose("up", "--detach", "--no-deps", "--no-build", *stage)
                for service in stage:
                    self._wait(service)
            yield
        finally:
            self._compose("down", "--volumes", "--timeout", "20")

    def containers(self, service: str) -> list[str]:
        """Return the ids of the containers of a service.

        Args:
            service: The service.
        """
        labels = {"project": self._name, "service": service}
        filters = [f"--filter=label=com.docker.compose.{key}={value}" for key, value in labels.items()]
        return self.engine.run("ps", "--all", "--quiet", *filters).stdout.split()

    def health(self) -> dict[str, list[bool]]:
        """Return for each container of each long-running service whether it passes its health check now."""
        started = [name for name in self.services if name not in self.left_out and name != "airflow-init"]
        return {name: [self._is_healthy(id_) for id_ in self.containers(name)] for name in started}

    def execute(self, service: str, *command: str) -> str:
        """Run a command in the first container of a service, and return its standard output.

        Args:
            service: The service.
            command: The command.

        Raises:
            EngineError: The command failed.
        """
        return self.engine.run("exec", self.containers(service)[0], *command).stdout

    def logs(self, service: str) -> str:
        """Return the last 60 lines of the output of each container of a service.

        Args:
            service: The service.
        """
        outputs = [self.engine.run("logs", "--tail", "60", id_, check=False) for id_ in self.containers(service)]
        return "\n".join(done.stdout + done.stderr for done in outputs)

    def _stages(self) -> list[list[str]]:
        """Return the services, each after the services that it depends on."""
        waiting = {name: set(item.get("depends_on", ())) for name, item in self.services.items()}
        waiting = {name: needs for name, needs in waiting.items() if name not in self.left_out}
        stages: list[list[str]] = []
        while waiting:
            ready = [name for name, needs in waiting.items() if not needs & waiting.keys()]
            stages.append(ready)
            waiting = {name: needs for name, needs in waiting.items() if name not in ready}
        return stages

    def _wait(self, service: str) -> None:
        ends = self.services[service].get("restart") == "no"
        limit = time.monotonic() + (_INIT_SECONDS if ends else _HEALTHY_SECONDS)
        while not (self._has_ended(service) if ends else all(map(self._is_healthy, self.containers(service)))):
            if time.monotonic() > limit:
                raise EngineError(
                    f"The service {service} is not healthy.", where="docker-compose.yaml", remedy=self.logs(service)
                )
            time.sleep(_POLL_SECONDS)

    def _has_ended(self, service: str) -> bool:
        for container in self.containers(service):
            state = json.loads(self.engine.run("inspect", "--format", "{{json .State}}", container).stdout)
            if state["Status"] != "exited":
                return False
            if state["ExitCode"]:
                raise EngineError(
                    f"The service {service} ended with status {state['ExitCode']}.",
                    where="docker-compose.yaml",
                    remedy=self.logs(service),
                )
        return True

    def _is_healthy(self, container: str) -> bool:
        if self.engine.name == "docker":
            status = self.engine.run("inspect", "--format", "{{.State.Health.Status}}", container, check=False)
            return status.stdout.strip() == "healthy"
        # Without systemd, podman runs no health check by itself.
        return self.engine.run("healthcheck", "run", container, check=False).returncode == 0

    def _compose(self, *arguments: str) -> None:
        command = ["docker", "compose"]
        if self.engine.name == "podman":
            command = [str(Path(sys.executable).parent / "podman-compose"), "--in-pod", "false"]
        done = subprocess.run(
            [*command, "--project-name", self._name, "--env-file", str(self._file), *arguments],
            cwd=ROOT,
            env=self.engine.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise EngineError(
                f"`{Path(command[0]).name} {arguments[0]}` ended with status {done.returncode}.",
                where="docker-compose.yaml",
                remedy=(done.stdout + done.stderr)[-3000:],
            )
