"""The runner in its own process, and the server processes of a deployment."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from include.serving.deployment.server_process import server_environment
from include.settings import ROOT, Settings


@contextmanager
def running(settings: Settings) -> Iterator[psutil.Popen]:
    """Run the runner until the block ends."""
    process = start(settings)
    try:
        yield process
    finally:
        if process.is_running():
            process.terminate()
            process.wait(120)


def start(settings: Settings) -> psutil.Popen:
    """Start a runner."""
    environment = os.environ | server_environment(settings, settings.serving_dir / "runner")
    del environment["BENTOML_HOME"]
    command = [sys.executable, "-m", "include.serving", "run"]
    return psutil.Popen(command, cwd=ROOT, env=environment | {"PYTHONPATH": str(ROOT)})


def servers_of(settings: Settings) -> list[psutil.Process]:
    """Return the server processes of a deployment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("BENTOML_HOME", "").startswith(str(settings.home)):
                found.append(process)
    return found


def served_bentos(settings: Settings) -> set[str]:
    """Return the Bentos for which server processes run."""
    bentos = set()
    for process in servers_of(settings):
        with suppress(psutil.Error):
            command = process.cmdline()
            bentos.add(Path(command[command.index("--bento") + 1]).name)
    return bentos


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """Wait until ``condition`` is true; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
