"""A local stack, or a serving runner, in a scratch home on free ports, for benchmarks."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from include.serving.deployment.server_process import server_environment
from include.settings import ROOT, MlflowSettings, ServingSettings, Settings
from local.environment import LocalPorts
from local.stack import Stack

_CODE = ("bin", "dags", "include", "local", "plugins")


@contextmanager
def running_stack(home: Path, project: str, variables: Mapping[str, str], code: Path = ROOT) -> Iterator[Stack]:
    """Start a stack on free ports, and stop it at the end.

    Args:
        home: The home of its deployment.
        project: The project.
        variables: Further environment variables of its processes.
        code: The folder of the code that it runs; see ``copy_code``.
    """
    airflow, mlflow, endpoint = free_ports(3)
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
        _local("up", given, code)
        yield stack
    finally:
        _local("down", given, code)


@contextmanager
def running_runner(settings: Settings) -> Iterator[None]:
    """Run the serving runner in a process until the block ends.

    Args:
        settings: The deployment; its home exists.
    """
    environment = os.environ | server_environment(settings, settings.serving_dir / "live") | {"PYTHONPATH": str(ROOT)}
    del environment["BENTOML_HOME"]
    if settings.provenance.public_key is not None:
        environment["CHURN_PROVENANCE__PUBLIC_KEY"] = str(settings.provenance.public_key)
    with (settings.home / "runner.log").open("wb") as output:
        command = [sys.executable, "-m", "include.serving", "run"]
        runner = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
        try:
            yield
        finally:
            runner.terminate()
            runner.wait(60)


def copy_code(target: Path, project: str, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Copy the code of the stack with changed keys in a project's YAML files.

    Args:
        target: The folder of the copy, which does not exist yet.
        project: The project.
        changes: The new values by key, by the file's name. A key of a nested mapping is written ``outer.inner``.
    """
    for name in _CODE:
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, values in changes.items():
        path = target / "include" / "projects" / project / name
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key, value in values.items():
            *outer, inner = key.split(".")
            place = content
            for part in outer:
                place = place[part]
            place[inner] = value
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _local(command: str, variables: dict[str, str], code: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "local", command],
        cwd=code,
        env=os.environ | {"PYTHONPATH": str(code)} | variables,
        stdout=sys.stderr,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"python -m local {command} ended with {done.returncode}")


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 on which nothing listens."""
    with contextlib.ExitStack() as held:
        probes: list[Any] = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
