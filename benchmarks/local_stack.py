"""A local stack in a scratch home on free ports, for benchmarks."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from include.settings import ROOT, MlflowSettings, ServingSettings, Settings
from local.environment import LocalPorts
from local.stack import Stack


@contextmanager
def running_stack(home: Path, project: str, variables: Mapping[str, str]) -> Iterator[Stack]:
    """Start a stack on free ports, and stop it at the end.

    Args:
        home: The home of its deployment.
        project: The project.
        variables: Further environment variables of its processes.
    """
    airflow, mlflow, endpoint = _free_ports(3)
    settings = Settings(
        home=home,
        project=project,
        mlflow=MlflowSettings(tracking_uri=f"http://127.0.0.1:{mlflow}"),
        serving=ServingSettings(port=endpoint),
    )
    stack = Stack(settings, LocalPorts(airflow_port=airflow, mlflow_port=mlflow))
    given = {
        "CHURN_HOME": str(home),
        "CHURN_PROJECT": project,
        "CHURN_LOCAL_AIRFLOW_PORT": str(airflow),
        "CHURN_LOCAL_MLFLOW_PORT": str(mlflow),
        "CHURN_SERVING__PORT": str(endpoint),
        "NO_PROXY": "127.0.0.1",
        **variables,
    }
    try:
        _local("up", given)
        yield stack
    finally:
        _local("down", given)


def _local(command: str, variables: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local", command],
        cwd=ROOT,
        env=os.environ | variables,
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"python -m local {command} ended with {done.returncode}")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes: list[Any] = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
