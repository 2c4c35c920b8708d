"""The two services of ``benchmarks/serving.py``, each started as in production, with one worker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from benchmarks.local_stack import free_ports
from benchmarks.serving_model import Model
from include.serving.deployment.package import build_bento
from include.serving.deployment.state import ServingState
from include.settings import ROOT, Settings

_START_SECONDS = 300.0
_STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Contender:
    """A running service.

    Attributes:
        name: ``naive`` or ``endpoint``.
        url: The address.
        process: The parent of its processes.
    """

    name: str
    url: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Return the processor time of all its processes so far."""
        used = 0.0
        for process in [self.process, *self.process.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                used += times.user + times.system
        return used


@contextmanager
def naive(model: Model, folder: Path) -> Iterator[Contender]:
    """Run ``benchmarks/naive_service.py`` under uvicorn.

    Args:
        model: The model.
        folder: The folder of the log.
    """
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "uvicorn", "benchmarks.naive_service:app", "--port", str(port)]
    command += ["--workers", "1", "--no-access-log", "--log-level", "warning"]
    variables = {"NAIVE_MODEL_URI": model.mlflow_uri, "OMP_NUM_THREADS": "1"}
    with _running("naive", command, port, variables, folder / "naive.log") as contender:
        yield contender


@contextmanager
def endpoint(model: Model, folder: Path) -> Iterator[Contender]:
    """Run the product's endpoint: a Bento of the model, the serving state that names it, and the runner.

    Args:
        model: The model.
        folder: The folder of the Bento and the log.
    """
    port = free_ports(1)[0]
    settings = Settings(home=folder / "home", project=model.bundle.contract.project)
    ServingState(settings.serving_dir).begin(build_bento(model.bundle, "1", settings.serving_dir))
    variables = {
        "CHURN_HOME": str(settings.home),
        "CHURN_PROJECT": settings.project,
        "CHURN_SERVING__PORT": str(port),
        "CHURN_SERVING__WORKERS": "1",
    }
    variables["CHURN_SERVING__READY_TIMEOUT_SECONDS"] = str(_START_SECONDS)
    command = [sys.executable, "-m", "include.serving", "run"]
    with _running("endpoint", command, port, variables, folder / "endpoint.log") as contender:
        yield contender


@contextmanager
def _running(name: str, command: list[str], port: int, variables: dict[str, str], log: Path) -> Iterator[Contender]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("CHURN_")}
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=ROOT, env=inherited | variables, stdout=output, stderr=output)
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_healthy(url, server, log)
            yield Contender(name, url, psutil.Process(server.pid))
        finally:
            server.terminate()
            server.wait(_STOP_SECONDS)


def _wait_until_healthy(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", trust_env=False).status_code == httpx.codes.OK:
                return
        time.sleep(0.2)
    raise RuntimeError(f"{url} did not start: {log.read_text(errors='replace')[-2000:]}")
