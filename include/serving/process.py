"""A BentoML server as a group of processes that starts together and is gone together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from include.logs import get_logger
from include.settings import ServingSettings

log = get_logger(__name__)

# The service gives a request ten seconds; a server that drains needs no more.
_STOP_SECONDS = 15.0


def bentoml_environment(home: Path) -> dict[str, str]:
    """Return the environment of a BentoML process that keeps its files under ``home`` and imports only its Bento.

    Every server needs a home of its own: BentoML wipes the metrics kept there when it starts.
    """
    home.mkdir(parents=True, exist_ok=True)
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return inherited | {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "true", "OMP_NUM_THREADS": "1"}


class BentoServer:
    """A running ``bentoml serve`` with its workers, in a process group of its own.

    Args:
        bento_path: The Bento's folder.
        home: The folder that BentoML may write to.
        port: The port to listen on.
        settings: The host, the number of workers and the body limit.
        output: Where its logs go; by default where this process's go.
    """

    def __init__(
        self, bento_path: Path, home: Path, port: int, settings: ServingSettings, output: IO[bytes] | None = None
    ) -> None:
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
        """Let the server finish what it has begun, then make sure that no process of its group is left."""
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while self._group_lives() and time.monotonic() < deadline:
            time.sleep(0.05)
        if self._group_lives():
            log.warning("server did not stop in time", extra={"seconds": _STOP_SECONDS})
            self._signal(signal.SIGKILL)
        self._process.wait()

    def _group_lives(self) -> bool:
        self._process.poll()  # reaps the first process, which would stay in the group as a zombie
        return self._signal(0)

    def _signal(self, number: int) -> bool:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            return False
        return True
