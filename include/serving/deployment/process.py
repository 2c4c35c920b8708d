"""One server process, and an end to those whose parent is gone."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from include.logs import get_logger
from include.serving.deployment.client import EndpointClient
from include.serving.deployment.environment import HOME_VARIABLE
from include.serving.shutdown_timeouts import STOP_SECONDS

log = get_logger(__name__)


class ServerProcess:
    """A running ``python -m include.serving.server``, with the code of its Bento.

    It answers on a private Unix socket as soon as the model is loaded, and to the public when it is told to.

    Args:
        bento_path: The Bento's folder.
        private: The Unix socket to make; what lies there from before is removed.
        environment: See ``server_environment``.
        public: The bound socket to accept from, if any.
        output: Where its logs go; by default where this process's go.

    Attributes:
        client: Asks this process, on its private socket.
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
        """Its process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def accept(self) -> None:
        """Let it answer the public; it must have answered on its private socket before."""
        self._process.send_signal(signal.SIGUSR1)

    def drain(self) -> None:
        """Let it hand its clients over and end."""
        self._process.terminate()

    def stop(self) -> None:
        """Let it answer what it holds, and end."""
        self._process.send_signal(signal.SIGINT)

    def wait(self, seconds: float) -> None:
        """Wait until it has ended; after ``seconds`` it is killed."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
            return
        self.kill()

    def kill(self) -> None:
        """End it at once, whatever it does."""
        log.warning("server killed", extra={"pid": self.pid})
        self._process.kill()
        self._process.wait()


def end_processes_of(home: Path) -> None:
    """End every process whose ``BENTOML_HOME`` is ``home``: gently, then by force.

    A runner that was killed leaves its servers behind: they go on answering, and hold the port.
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
        with suppress(psutil.Error):  # ended meanwhile, or belongs to somebody else
            if process.environ().get(HOME_VARIABLE) == str(home):
                found.append(process)
    return found
