"""The container engine of this machine: Docker, or podman where the Docker daemon does not run."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from include.errors import ChurnflowError

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PULL_SECONDS = 600
_LIMIT = 16384
"""The number of open files, and the number of processes of a user."""


class EngineError(ChurnflowError):
    """No container engine runs on this machine, or one of its commands failed."""


@dataclass(frozen=True)
class Engine:
    """A container engine with the command line of Docker.

    Attributes:
        name: ``docker`` or ``podman``.
        variables: Environment variables of its commands.
    """

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the engine's commands."""
        return os.environ | dict(self.variables)

    def run(
        self, *arguments: str, check: bool = True, seconds: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the engine, and return it with its standard output.

        Args:
            arguments: The arguments of the command.
            check: Whether a command that fails is an error.
            seconds: The time limit; None for no limit.

        Raises:
            EngineError: The command failed or exceeded the time limit.
        """
        try:
            done = subprocess.run(
                [self.name, *arguments],
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as error:
            raise self._failed(arguments, f"exceeded {seconds:.0f} s") from error
        if check and done.returncode:
            raise self._failed(arguments, f"ended with status {done.returncode}: {done.stderr.strip()[-500:]}")
        return done

    def build(self, folder: Path, tag: str, *options: str) -> None:
        """Build an image; the output of the build is written to standard error.

        Args:
            folder: The build context.
            tag: The name and the tag of the image.
            options: Further options of the command.

        Raises:
            EngineError: The build failed.
        """
        arguments = ["build", "--tag", tag, *self._build_options(), *options, str(folder)]
        done = subprocess.run([self.name, *arguments], env=self.environment, stdout=sys.stderr, check=False)
        if done.returncode:
            raise self._failed(arguments, f"ended with status {done.returncode}")

    def has_image(self, image: str) -> bool:
        """Return whether an image is on this machine.

        Args:
            image: The name and the tag.
        """
        return self.run("image", "inspect", image, check=False).returncode == 0

    def pull(self, image: str) -> bool:
        """Return whether an image is on this machine, after an attempt to pull it.

        Args:
            image: The name and the tag.
        """
        if self.has_image(image):
            return True
        try:
            return self.run("pull", "--quiet", image, check=False, seconds=_PULL_SECONDS).returncode == 0
        except EngineError:
            return False

    def megabytes(self, image: str) -> int:
        """Return the size of an image with its base in 10^6 bytes.

        Args:
            image: The name and the tag.
        """
        return round(int(self.run("image", "inspect", "--format", "{{.Size}}", image).stdout) / 1e6)

    def _build_options(self) -> list[str]:
        if self.name == "docker":
            return []
        # HEALTHCHECK needs Docker's format. The network of the host has the package indexes of the host.
        return ["--format", "docker", "--network", "host"]

    def _failed(self, arguments: tuple[str, ...] | list[str], how: str) -> EngineError:
        command = " ".join((self.name, *arguments[:2]))
        return EngineError(f"`{command}` {how}.", where=command, remedy="Read its output.")


def find_engine(folder: Path) -> Engine:
    """Return the container engine of this machine.

    Args:
        folder: The folder for the configuration of podman; it is created.

    Raises:
        EngineError: Neither a Docker daemon nor podman was found.
    """
    if shutil.which("docker") and Engine("docker").run("info", check=False).returncode == 0:
        return Engine("docker")
    if shutil.which("podman"):
        return Engine("podman", {"CONTAINERS_CONF": str(_write_podman_configuration(folder))})
    raise EngineError("No container engine was found.", where="PATH", remedy="Install Docker, or podman with runc.")


def _write_podman_configuration(folder: Path) -> Path:
    """Write default limits that a machine within a container allows too; podman's own defaults are higher."""
    limits = [
        f'"{name}={min(_LIMIT, resource.getrlimit(number)[1])}"'
        for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
    ]
    lines = ["[containers]", f"default_ulimits = [{', '.join(limits)}]"]
    if shutil.which("runc"):
        lines += ["[engine]", 'runtime = "runc"']
    path = folder.absolute() / "containers.conf"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
