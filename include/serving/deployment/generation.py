"""The server processes that serve one Bento together: they come, answer and leave as one."""

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
from include.serving.deployment.environment import server_environment
from include.serving.deployment.pointer import BentoReference
from include.serving.deployment.process import ServerProcess
from include.serving.deployment.samples import bundled_samples, compare
from include.serving.shutdown_timeouts import STOP_SECONDS
from include.settings import Settings
from include.training.model.bundle import Sample

log = get_logger(__name__)

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 30.0
# An overloaded server answers /health within half a second or so: whoever misses three in a row hangs.
_HEALTH_SECONDS = 2.0
_MISSES = 3


class GenerationError(ChurnflowError):
    """Server processes do not do what they were started for."""


@dataclass(frozen=True)
class Target:
    """What is to be served.

    Attributes:
        bento: The Bento that answers.
        shadow: The Bento whose model is asked beside it; its answers are kept, and nobody gets them.
    """

    bento: BentoReference
    shadow: BentoReference | None = None


@dataclass
class _Worker:
    """One place of a generation, and the process that fills it."""

    process: ServerProcess
    started: float
    accepts: bool = False
    looked: float = -math.inf
    misses: int = 0
    pause: float = _FIRST_PAUSE
    not_before: float | None = None


class Generation:
    """Server processes of one target.

    Args:
        target: What they serve.
        folder: Their sockets and metrics; made by ``start``, removed when they are gone.
        home: The folder by which processes of the same kind are found; see ``end_processes_of``.
        settings: The number of processes, and what they are told.
        public: The socket from which they accept when they are told to.
        output: Where their logs go; by default where this process's go.

    Raises:
        GenerationError: The Bento is not there.
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
        if not Path(target.bento.path).is_dir():
            raise self._error("The Bento is not there", "Deploy the model again, which builds it")
        self._samples: tuple[Sample, ...] = bundled_samples(target.bento)
        self._folder = folder
        self._public = public
        self._output = output
        self._metrics = folder / "metrics"
        self._environment = server_environment(settings, home, target.shadow) | {
            "PROMETHEUS_MULTIPROC_DIR": str(self._metrics)
        }
        self._drain_seconds = settings.serving.drain_seconds
        self._ready_seconds = settings.serving.ready_timeout_seconds
        self._liveness_seconds = settings.serving.liveness_seconds
        self._number = settings.serving.workers
        self._deadline = math.inf
        self._workers: list[_Worker] = []

    def start(self) -> None:
        """Start the processes."""
        self._metrics.mkdir(parents=True)
        self._deadline = time.monotonic() + self._ready_seconds
        for number in range(self._number):
            self._workers.append(_Worker(self._start(number), time.monotonic()))

    def is_ready(self) -> bool:
        """Return whether all processes have loaded the model.

        Raises:
            GenerationError: One has ended instead, or the time is over.
        """
        self.require_alive()
        if all(self._is_healthy(worker) for worker in self._workers):
            return True
        if time.monotonic() > self._deadline:
            raise self._error("It did not load its model in time", "Read the log, or give it more time")
        return False

    def require_alive(self) -> None:
        """Check that no process has ended.

        Raises:
            GenerationError: One has.
        """
        for worker in self._workers:
            if worker.process.exit_code is not None:
                what = f"A server process ended with exit code {worker.process.exit_code}"
                raise self._error(what, "Read its log")

    def verify(self) -> float:
        """Compare what every process answers, on its private socket, with what training recorded.

        Returns:
            The largest distance between two probabilities.

        Raises:
            EndpointError: A process refused a sample or did not answer.
            SamplesError: It answered otherwise than the model did in training.
        """
        return max(compare(worker.process.client, self.target.bento, self._samples) for worker in self._workers)

    def accept(self) -> None:
        """Answer the public from now on."""
        for worker in self._workers:
            worker.process.accept()
            worker.accepts = True

    def require_no_failures(self) -> None:
        """Check that no request was answered with an error of the server's own.

        Raises:
            GenerationError: One was.
        """
        failures = self._workers[0].process.client.failures()
        if failures:
            raise self._error(f"It failed on {failures} requests", "Read the log for the errors")

    def tend(self) -> None:
        """Start processes again that have ended, with longer and longer pauses while they keep ending or cannot start.

        A process that hangs, or does not load its model in time, is ended. Looking at it takes two seconds, since it
        does not answer.
        """
        now = time.monotonic()
        for number, worker in enumerate(self._workers):
            if worker.not_before is not None:
                if now >= worker.not_before:
                    self._start_again(number, worker, now)
            elif worker.process.exit_code is not None:
                self._give_up(worker, now)
            elif not worker.accepts:
                self._let_in(worker, now)
            elif now - worker.looked >= self._liveness_seconds:
                self._look(worker, now)

    def drain(self) -> None:
        """Hand the clients over to others and end."""
        self._deadline = time.monotonic() + self._drain_seconds + STOP_SECONDS
        for worker in self._workers:
            worker.process.drain()

    def answers(self) -> bool:
        """Return whether a process still takes new connections."""
        return any(worker.process.client.health(_HEALTH_SECONDS) is not None for worker in self._workers)

    def ask_to_stop(self) -> None:
        """Let the processes answer what they hold, and end."""
        for worker in self._workers:
            worker.process.stop()

    def stop(self) -> None:
        """Answer what is held, and end; returns when no process is left."""
        self.ask_to_stop()
        self.wait_until_gone(time.monotonic() + STOP_SECONDS)

    def wait_until_gone(self, deadline: float) -> None:
        """Return when no process is left; at the moment ``deadline`` of the monotonic clock they are killed."""
        for worker in self._workers:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
        self._remove()

    def is_gone(self) -> bool:
        """Return whether a generation that drains has ended; processes that overstay are killed."""
        left = [worker.process for worker in self._workers if worker.process.exit_code is None]
        if left and time.monotonic() > self._deadline:
            for process in left:
                process.wait(0)
            left = []
        if not left:
            self._remove()
        return not left

    def _start(self, number: int) -> ServerProcess:
        private = self._folder / f"{number}.sock"
        return ServerProcess(Path(self.target.bento.path), private, self._environment, self._public, self._output)

    def _start_again(self, number: int, worker: _Worker, now: float) -> None:
        try:
            process = self._start(number)
        except OSError as error:
            # The others go on: the machine may have room for a process later, or the Bento be back.
            extra = {"error": type(error).__name__, "errno": error.errno, "pause_seconds": worker.pause}
            log.error("server not started", extra={"bento": self.target.bento.bento, **extra})
            self._pause(worker, now)
        else:
            self._workers[number] = _Worker(process, now, pause=worker.pause)

    def _give_up(self, worker: _Worker, now: float) -> None:
        if now - worker.started > _LONGEST_PAUSE:
            worker.pause = _FIRST_PAUSE
        extra = {"exit_code": worker.process.exit_code, "pause_seconds": worker.pause}
        log.error("server ended", extra={"bento": self.target.bento.bento, **extra})
        mark_process_dead(worker.process.pid, str(self._metrics))  # type: ignore[no-untyped-call]
        self._pause(worker, now)

    def _pause(self, worker: _Worker, now: float) -> None:
        worker.not_before = now + worker.pause
        worker.pause = min(2 * worker.pause, _LONGEST_PAUSE)

    def _let_in(self, worker: _Worker, now: float) -> None:
        if self._is_healthy(worker):
            worker.process.accept()
            worker.accepts = True
        elif now - worker.started > self._ready_seconds:
            log.error("server not ready", extra={"bento": self.target.bento.bento, "pid": worker.process.pid})
            worker.process.kill()

    def _look(self, worker: _Worker, now: float) -> None:
        worker.looked = now
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

    def _error(self, what: str, remedy: str) -> GenerationError:
        return GenerationError(f"{what}.", where=f"Bento {self.target.bento.bento}", remedy=f"{remedy}.")
