"""Server processes: their environment, their signals, and the end of those that a killed runner left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil
from pydantic import SecretStr
from pydantic_core import to_jsonable_python

from include.logs import get_logger
from include.serving.deployment.client import EndpointClient
from include.serving.deployment.state import BentoReference
from include.serving.shutdown_timeouts import STOP_SECONDS
from include.settings import Settings

log = get_logger(__name__)

_HOME_VARIABLE = "BENTOML_HOME"
_SERVING_VARIABLE = "CHURN_SERVING"
_SHADOW_VARIABLES = ("CHURN_SHADOW_BUNDLE", "CHURN_SHADOW_VERSION")


def bentoml_environment(home: Path) -> dict[str, str]:
    """Return the environment of a BentoML process that keeps its files under ``home`` and imports its Bento's code."""
    home.mkdir(parents=True, exist_ok=True)
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return inherited | {
        _HOME_VARIABLE: str(home),
        "BENTOML_DO_NOT_TRACK": "true",
        # A Bento with other files than those of its provenance is refused, and bytecode has no entry in it.
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
    }


def server_environment(settings: Settings, home: Path, shadow: BentoReference | None = None) -> dict[str, str]:
    """Return the environment of a server process, with the serving settings of this process.

    ``CHURN_SERVING`` contains the settings group as JSON, with readable secrets, and replaces the individual variables.
    Default values are left out, because an older Bento rejects a setting that it does not define.

    Args:
        settings: The settings of the deployment.
        home: The process's ``BENTOML_HOME``.
        shadow: The Bento of the shadow model; None for no shadow.
    """
    others = {
        key: value
        for key, value in bentoml_environment(home).items()
        if not key.startswith(_SERVING_VARIABLE) and key not in _SHADOW_VARIABLES
    }
    shadowed = (
        {} if shadow is None else dict(zip(_SHADOW_VARIABLES, (str(shadow.bundle), shadow.model_version), strict=True))
    )
    serving = settings.serving.model_dump(exclude_defaults=True)
    return others | {
        "CHURN_HOME": str(settings.home),
        "CHURN_PROJECT": settings.project,
        "CHURN_LAKE_URI": settings.lake_uri,
        _SERVING_VARIABLE: json.dumps(serving, default=_readable),
        **shadowed,
    }


def _readable(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else to_jsonable_python(value)


class ServerProcess:
    """A running ``python -m include.serving.server`` with the code of its Bento.

    The process answers on a private Unix socket as soon as it has loaded the model, and on the public socket after
    ``accept``.

    Args:
        bento_path: The Bento's folder.
        private: The path of the private Unix socket; an existing file there is removed.
        environment: The environment; see ``server_environment``.
        public: The bound public socket; None for a process without public connections.
        output: The file for the process's log; by default the process inherits the output of this process.

    Attributes:
        client: A client of the private socket.
    """

    def __init__(
        self,
        bento_path: Path,
        private: Path,
        environment: dict[str, str],
        public: socket.socket | None = None,
        output: IO[bytes] | None = None,
    ) -> None:
        private.unlink(missing_ok=True)
        command = [sys.executable, "-m", "include.serving.server"]
        command += ["--bento", str(bento_path), "--private", str(private)]
        shared = [] if public is None else [public.fileno()]
        for number in shared:
            command += ["--fd", str(number)]
        self.client = EndpointClient("http://server", private=private)
        self._process = subprocess.Popen(
            command,
            cwd=bento_path / "src",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=shared,
        )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code; None while the process runs."""
        return self._process.poll()

    def accept(self) -> None:
        """Start to accept on the public socket; the process must have answered on its private socket before."""
        self._process.send_signal(signal.SIGUSR1)

    def drain(self) -> None:
        """Stop accepting, answer the requests of open connections, and exit when the connections are closed."""
        self._process.terminate()

    def stop(self) -> None:
        """Answer the requests that have arrived, and exit."""
        self._process.send_signal(signal.SIGINT)

    def wait(self, seconds: float) -> None:
        """Wait for the exit of the process; kill it after ``seconds``."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            return
        self.kill()

    def kill(self) -> None:
        """Kill the process."""
        log.warning("server killed", extra={"pid": self.pid})
        self._process.kill()
        self._process.wait()


def end_processes_of(home: Path) -> None:
    """End every process that has ``home`` as its ``BENTOML_HOME``: with SIGINT, then with SIGKILL.

    The servers of a killed runner keep running, and keep the port.
    """
    left = _processes_of(home)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT)
    _, alive = psutil.wait_procs(left, timeout=STOP_SECONDS)
    for process in alive:
        log.warning("server killed", extra={"pid": process.pid})
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)


def _processes_of(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # the process has ended, or belongs to another user
            if process.environ().get(_HOME_VARIABLE) == str(home):
                found.append(process)
    return found
