from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from include.settings import ROOT, ServingSettings, Settings
from local.client import AirflowClient
from local.ports import LocalPorts
from local.stack import Stack


@dataclass(frozen=True)
class RunningStack:
    """A stack of its own, and the command line that reaches it."""

    stack: Stack
    client: AirflowClient
    variables: dict[str, str]

    def run(self, *command: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run a command of the repository against this stack."""
        return subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | self.variables,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def processes(self) -> list[psutil.Process]:
        """Return all processes that were started for this stack, however they were detached.

        Airflow's servers overwrite their environment with a title, and PostgreSQL leaves the session: each process
        is found by one or the other.
        """
        session = self.stack.supervisor.pid()
        return [process for process in psutil.process_iter() if self._owns(process, session)]

    def _owns(self, process: psutil.Process, session: int | None) -> bool:
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == session:
                return True
            return bool(process.environ().get("CHURN_HOME") == self.variables["CHURN_HOME"])
        return False


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty folder that PostgreSQL may use, see ``tests/postgres.py``; after a failure it stays, for its logs."""
    folder = Path(tempfile.mkdtemp(prefix="churnflow-e2e-"))
    yield folder
    if request.session.testsfailed:
        print(f"The stack's logs are in {folder}.", file=sys.stderr)
    else:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def stack(folder: Path) -> Iterator[RunningStack]:
    """A healthy stack on free ports; its home's path is longer than that of a socket may be."""
    home = folder / ("home-" + "x" * 100)
    home.mkdir()
    ports = _free_ports(3)
    variables = {
        "CHURN_HOME": str(home),
        "CHURN_LOCAL_AIRFLOW_PORT": str(ports[0]),
        "CHURN_LOCAL_MLFLOW_PORT": str(ports[1]),
        "CHURN_SERVING__PORT": str(ports[2]),
    }
    settings = Settings(home=home, serving=ServingSettings(port=ports[2]))
    own = Stack(settings, LocalPorts(airflow_port=ports[0], mlflow_port=ports[1]))
    client = AirflowClient(own.airflow_url)
    running = RunningStack(own, client, variables)
    try:
        up = running.run(".venv/bin/python", "-m", "local", "up")
        assert up.returncode == 0, up.stdout + up.stderr
        yield running
    finally:
        client.close()
        before = running.processes()
        down = running.run(".venv/bin/python", "-m", "local", "down")
    assert down.returncode == 0, down.stdout + down.stderr
    assert running.processes() == []
    assert psutil.wait_procs(before, timeout=30)[1] == []


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
