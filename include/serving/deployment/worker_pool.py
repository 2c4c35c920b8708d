"""The server processes that serve one revision: they start, accept and drain together."""

from __future__ import annotations

import math
import shutil
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from prometheus_client.multiprocess import mark_process_dead

from include.errors import ChurnflowError
from include.logs import get_logger
from include.plurals import counted
from include.provenance.check import require_bento
from include.provenance.statement import ProvenanceError
from include.serving.deployment.client import bundled_samples
from include.serving.deployment.server_process import ServerProcess, server_environment
from include.serving.deployment.state import BentoReference
from include.serving.shutdown_timeouts import STOP_SECONDS
from include.settings import Settings, require_project

log = get_logger(__name__)

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
# An overloaded server answers /health within about half a second. A server that misses three requests in a row hangs.
_HEALTH_SECONDS = 2.0
_MISSES = 3


class WorkerPoolError(ChurnflowError):
    """Server processes did not start, ended, or failed on requests."""

    can_retry = True


@dataclass(frozen=True)
class Target:
    """The Bentos of one worker pool.

    Attributes:
        bento: The Bento that answers.
        shadow: The Bento of the shadow, which scores the same rows; its predictions are only logged.
    """

    bento: BentoReference
    shadow: BentoReference | None = None


@dataclass
class _Worker:
    """A server process, and its restarts."""

    process: ServerProcess
    started: float
    accepts: bool = False
    checked: float = -math.inf
    misses: int = 0
    pause: float = _FIRST_PAUSE
    not_before: float | None = None


class WorkerPool:
    """Server processes of one target.

    Args:
        target: The Bentos to serve.
        folder: The folder of their sockets and metrics; created by ``start``, removed after their exit.
        home: Their ``BENTOML_HOME``, which identifies them; see ``end_processes_of``.
        settings: The number of processes, the timeouts, and the settings that the processes get.
        public: The public socket, from which they accept after ``accept``.
        output: The file for the processes' logs; by default the processes inherit the output of this process.

    Raises:
        ProjectMismatchError: A Bento is of another project than the settings.
        WorkerPoolError: The Bento does not exist.
        ProvenanceError: A file of a Bento differs from its provenance, or the provenance is missing or not trusted.
        BundleError: The bundle inside the Bento is damaged.
        SamplesError: Training recorded no samples.
    """

    def __init__(
        self,
        target: Target,
        folder: Path,
        home: Path,
        settings: Settings,
        public: socket.socket | None = None,
        output: IO[bytes] | None = None,
    ) -> None:
        self.target = target
        for bento in (target.bento, target.shadow):
            if bento is not None:
                require_project(bento.project, settings.project, what="The Bento", where=bento.path)
        if not Path(target.bento.path).is_dir():
            raise self._error("The Bento does not exist", "Deploy the model again, which builds it")
        self._public_key = settings.provenance.public_key
        self._require_provenance()
        self._samples = bundled_samples(target.bento.load_bundle())
        self._folder = folder
        self._public = public
        self._output = output
        self._metrics = folder / "metrics"
        self._environment = server_environment(settings, home, target.shadow) | {
            "PROMETHEUS_MULTIPROC_DIR": str(self._metrics)
        }
        self._serving = settings.serving
        self._deadline = math.inf
        self._workers: list[_Worker] = []

    def start(self) -> None:
        """Start the processes."""
        self._metrics.mkdir(parents=True)
        self._deadline = time.monotonic() + self._serving.ready_timeout_seconds
        for number in range(self._serving.workers):
            self._workers.append(_Worker(self._start(number), time.monotonic()))

    def is_ready(self) -> bool:
        """Return whether all processes have loaded the model.

        Raises:
            WorkerPoolError: A process has ended, or the time limit has passed.
        """
        self.require_alive()
        if all(self._is_healthy(worker) for worker in self._workers):
            return True
        if time.monotonic() > self._deadline:
            raise self._error("The model was not loaded in time", "Read the log, or increase the time limit")
        return False

    def require_alive(self) -> None:
        """Check that no process has ended.

        Raises:
            WorkerPoolError: A process has ended.
        """
        for worker in self._workers:
            if worker.process.exit_code is not None:
                what = f"A server process ended with exit code {worker.process.exit_code}"
                raise self._error(what, "Read the log of the process")

    def verify(self) -> float:
        """Compare the predictions of each process, on its private socket, with those that training recorded.

        Returns:
            The largest absolute difference between two probabilities.

        Raises:
            EndpointError: A process answered with an error, or did not answer.
            SamplesError: A prediction differs from the recorded prediction.
        """
        return max(worker.process.client.compare(self.target.bento, self._samples) for worker in self._workers)

    def accept(self) -> None:
        """Start to accept on the public socket."""
        for worker in self._workers:
            worker.process.accept()
            worker.accepts = True

    def require_no_failures(self) -> None:
        """Check that no request failed inside the servers.

        Raises:
            WorkerPoolError: A request failed.
        """
        failures = self._workers[0].process.client.failures()
        if failures:
            raise self._error(f"The servers failed on {counted(failures, 'request')}", "Read the errors in the log")

    def supervise(self) -> None:
        """Restart processes that have ended, with increasing pauses while they keep ending or cannot start.

        A process that hangs, or does not load its model in time, is killed. A check of a hanging process takes two
        seconds.
        """
        now = time.monotonic()
        for number, worker in enumerate(self._workers):
            if worker.not_before is not None:
                if now >= worker.not_before:
                    self._restart(number, worker, now)
            elif worker.process.exit_code is not None:
                self._record_exit(worker, now)
            elif not worker.accepts:
                self._accept_when_ready(worker, now)
            elif now - worker.checked >= self._serving.liveness_seconds:
                self._check(worker, now)

    def drain(self) -> None:
        """Stop accepting, answer the requests of open connections, and exit."""
        self._deadline = time.monotonic() + self._serving.drain_seconds + STOP_SECONDS
        for worker in self._workers:
            worker.process.drain()

    def answers(self) -> bool:
        """Return whether a process still accepts new connections."""
        return any(worker.process.client.health(_HEALTH_SECONDS) is not None for worker in self._workers)

    def begin_stop(self) -> None:
        """Answer the requests that have arrived, and exit; returns at once."""
        for worker in self._workers:
            worker.process.stop()

    def stop(self) -> None:
        """Answer the requests that have arrived, and exit; returns after the last exit."""
        self.begin_stop()
        self.wait_until_gone(time.monotonic() + STOP_SECONDS)

    def wait_until_gone(self, deadline: float) -> None:
        """Wait for the exit of all processes; kill them at the moment ``deadline`` of the monotonic clock."""
        for worker in self._workers:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
        self._remove()

    def is_gone(self) -> bool:
        """Return whether a draining pool has ended; processes that exceed the drain time are killed."""
        left = [worker.process for worker in self._workers if worker.process.exit_code is None]
        if left and time.monotonic() > self._deadline:
            for process in left:
                process.wait(0)
            left = []
        if not left:
            self._remove()
        return not left

    def _require_provenance(self) -> None:
        for bento in (self.target.bento, self.target.shadow):
            if bento is not None:
                require_bento(Path(bento.path), bento.project, bento.model_version, self._public_key)

    def _start(self, number: int) -> ServerProcess:
        private = self._folder / f"{number}.sock"
        return ServerProcess(Path(self.target.bento.path), private, self._environment, self._public, self._output)

    def _restart(self, number: int, worker: _Worker, now: float) -> None:
        try:
            self._require_provenance()  # the files may have changed since the pool started
            process = self._start(number)
        except (OSError, ProvenanceError) as error:
            # The other processes continue; later the machine may have resources for this process.
            extra = {"error": type(error).__name__, "reason": str(error), "pause_seconds": worker.pause}
            log.error("server not started", extra={"bento": self.target.bento.bento, **extra})
            self._pause(worker, now)
        else:
            self._workers[number] = _Worker(process, now, pause=worker.pause)

    def _record_exit(self, worker: _Worker, now: float) -> None:
        if now - worker.started > _LONGEST_PAUSE:
            worker.pause = _FIRST_PAUSE
        extra = {"exit_code": worker.process.exit_code, "pause_seconds": worker.pause}
        log.error("server ended", extra={"bento": self.target.bento.bento, **extra})
        mark_process_dead(worker.process.pid, str(self._metrics))  # type: ignore[no-untyped-call]
        self._pause(worker, now)

    def _pause(self, worker: _Worker, now: float) -> None:
        worker.not_before = now + worker.pause
        worker.pause = min(2 * worker.pause, _LONGEST_PAUSE)

    def _accept_when_ready(self, worker: _Worker, now: float) -> None:
        if self._is_healthy(worker):
            worker.process.accept()
            worker.accepts = True
        elif now - worker.started > self._serving.ready_timeout_seconds:
            log.error("server not ready", extra={"bento": self.target.bento.bento, "pid": worker.process.pid})
            worker.process.kill()

    def _check(self, worker: _Worker, now: float) -> None:
        worker.checked = now
        answers = worker.process.client.health(_HEALTH_SECONDS) is not None
        worker.misses = 0 if answers else worker.misses + 1
        if worker.misses >= _MISSES:
            log.error("server hangs", extra={"bento": self.target.bento.bento, "pid": worker.process.pid})
            worker.process.kill()

    def _is_healthy(self, worker: _Worker) -> bool:
        health = worker.process.client.health(_HEALTH_SECONDS)
        return health is not None and health.bento == self.target.bento.bento

    def _remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _error(self, what: str, remedy: str) -> WorkerPoolError:
        return WorkerPoolError(f"{what}.", where=f"Bento {self.target.bento.bento}", remedy=f"{remedy}.")
