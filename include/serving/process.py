"""A BentoML server: processes that start together and are gone together."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

from include.logs import get_logger
from include.settings import ServingSettings

log = get_logger(__name__)

# The service gives a request ten seconds; a server that drains needs no more.
_STOP_SECONDS = 15.0
_HOME_VARIABLE = "BENTOML_HOME"


def bentoml_environment(home: Path) -> dict[str, str]:
    """Return the environment of a BentoML process that keeps its files under ``home`` and imports only its Bento.

    Every server needs a home of its own: BentoML wipes the metrics kept there when it starts.
    """
    home.mkdir(parents=True, exist_ok=True)
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return inherited | {
        _HOME_VARIABLE: str(home),
        "BENTOML_DO_NOT_TRACK": "true",
        "OMP_NUM_THREADS": "1",
        # BentoML renames its first process, which would otherwise overwrite the environment that it is known by.
        "SPT_NOENV": "1",
    }


class BentoServer:
    """A running ``bentoml serve`` with its workers, in a session of its own.

    Args:
        bento_path: The Bento's folder.
        home: The folder that BentoML may write to. It belongs to one server: what still runs for it is ended first.
        port: The port to listen on.
        settings: The host, the number of workers and the body limit.
        output: Where its logs go; by default where this process's go.
    """

    def __init__(
        self, bento_path: Path, home: Path, port: int, settings: ServingSettings, output: IO[bytes] | None = None
    ) -> None:
        self._home = home
        end_processes_of(home)
        environment = bentoml_environment(home) | {
            "CHURN_SERVING__WORKERS": str(settings.workers),
            "CHURN_SERVING__MAX_BODY_BYTES": str(settings.max_body_bytes),
        }
        command = [sys.executable, "-m", "bentoml", "serve", str(bento_path)]
        self._process = subprocess.Popen(
            [*command, "--host", settings.host, "--port", str(port)],
            cwd=bento_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    @property
    def exit_code(self) -> int | None:
        """The exit code of the server's first process; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Let the server finish what it has begun, then make sure that none of its processes is left."""
        if self._process.poll() is None:
            # It ends its workers, which drain.
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        end_processes_of(self._home)
        self._process.wait()


def end_processes_of(home: Path) -> None:
    """End every process whose ``BENTOML_HOME`` is ``home``: gently, then by force.

    Workers lead sessions of their own, so that neither their parent's death nor a signal to its group reaches them. A
    server that was killed would leave them behind, still answering on its port.
    """
    # A parent may replace a worker while it is ending itself: the second look finds that one.
    while left := _processes_of(home):
        _signal_all(left, psutil.Process.terminate)
        _, alive = psutil.wait_procs(left, timeout=_STOP_SECONDS)
        for process in alive:
            log.warning("process killed", extra={"pid": process.pid})
        _signal_all(alive, psutil.Process.kill)
        psutil.wait_procs(alive, timeout=_STOP_SECONDS)


def _signal_all(processes: list[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            send(process)


def _processes_of(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # ended meanwhile, or belongs to somebody else
            if process.environ().get(_HOME_VARIABLE) == str(home):
                found.append(process)
    return found
