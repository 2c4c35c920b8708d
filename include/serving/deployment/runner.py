"""The supervised process that makes the endpoint serve the desired state, without a gap between two models."""

from __future__ import annotations

import itertools
import math
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from include.errors import ChurnflowError
from include.logs import get_logger
from include.serving.deployment.listener import bind_public, lock_endpoint, private_folder
from include.serving.deployment.server_process import end_processes_of
from include.serving.deployment.state import Phase, Revision, ServingState, ServingStateError
from include.serving.deployment.worker_pool import Target, WorkerPool
from include.serving.shutdown_timeouts import STOP_SECONDS
from include.settings import ProjectMismatchError, Settings

log = get_logger(__name__)

_POLL_SECONDS = 0.1
_RETRY_SECONDS = 10.0


@dataclass(frozen=True)
class _Desired:
    serve: Revision | None = None
    shadow: Revision | None = None


class Runner:
    """Keeps one worker pool behind the public address, and replaces it when the desired state changes.

    A new pool accepts no client until its predictions for the recorded samples are right. Then both pools accept for a
    short time, and if the new pool answers without an error, the old pool drains. On any failure the old pool continues
    to accept.

    Args:
        settings: The folder of the state, and the public address.

    Raises:
        ListenerError: The public address is not available, or another runner serves this endpoint.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._state = ServingState(settings.serving_dir)
        self._home = settings.serving_dir / "live"
        self._lock = lock_endpoint(settings.serving_dir)
        # A killed runner leaves its servers and their files behind.
        end_processes_of(self._home)
        self._folder = private_folder(settings.serving_dir)
        self._public: socket.socket | None = bind_public(settings.serving)
        self._numbers = itertools.count(1)
        self._decided = _Desired()
        self._serving: WorkerPool | None = None
        self._candidate: WorkerPool | None = None
        self._leaving: list[WorkerPool] = []
        self._change: Iterator[None] = iter(())
        self._retry_at = math.inf
        self._state_is_readable = True

    def step(self) -> None:
        """Compare the running pools with the desired state, and act on a difference; returns within seconds."""
        desired = self._read_desired()
        if desired != self._decided or time.monotonic() >= self._retry_at:
            self._drop_candidate()
            self._decided, self._retry_at = desired, math.inf
            self._change = self._change_to(desired)
        next(self._change, None)
        if self._serving is not None:
            self._serving.supervise()
        self._leaving = [pool for pool in self._leaving if not pool.is_gone()]

    def stop(self) -> None:
        """Stop all pools and release the public address."""
        self._drop_candidate()
        left = [*self._leaving, *([self._serving] if self._serving else [])]
        for pool in left:
            pool.begin_stop()
        deadline = time.monotonic() + STOP_SECONDS
        for pool in left:
            pool.wait_until_gone(deadline)
        if self._public is not None:
            self._public.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.release()

    def _read_desired(self) -> _Desired:
        try:
            desired = _Desired(self._state.desired(), self._state.desired("shadow"))
        except (ServingStateError, ProjectMismatchError) as error:
            if self._state_is_readable:
                log.error("state unreadable", extra={"reason": str(error)})
            self._state_is_readable = False
            return self._decided  # the running pool continues
        self._state_is_readable = True
        return desired

    def _change_to(self, desired: _Desired) -> Iterator[None]:
        """Bring ``desired`` into service in short steps, so that the running pool is tended in between."""
        if desired.serve is None:
            self._serve_nothing()
            return
        self._report(desired.serve, "starting")
        failures: list[str] = []
        for target in self._attempts(desired.serve, desired.shadow):
            if self._serving is not None and self._serving.target == target:
                break
            try:
                yield from self._replace_by(target)
                break
            except (ChurnflowError, OSError) as error:
                log.error("change failed", extra={"bento": target.bento.bento, "reason": str(error)})
                failures.append(str(error))
                self._drop_candidate()
        self._report_all(desired, failures)

    def _attempts(self, serve: Revision, shadow: Revision | None) -> list[Target]:
        """Return the targets to try, in order: with the shadow, without it, and the former Bento if no Bento serves."""
        attempts = [Target(serve.bento, shadow.bento)] if shadow else []
        attempts.append(Target(serve.bento))
        if self._serving is None:
            with suppress(ServingStateError, ProjectMismatchError):
                former = self._state.previous()
                attempts += [Target(former)] if former else []
        return attempts

    def _replace_by(self, target: Target) -> Iterator[None]:
        if self._public is None:
            self._public = bind_public(self._settings.serving)
        folder = self._folder / str(next(self._numbers))
        candidate = WorkerPool(target, folder, self._home, self._settings, self._public)
        log.info("worker pool starts", extra={"bento": target.bento.bento})
        self._candidate = candidate
        candidate.start()
        while not candidate.is_ready():
            yield
        candidate.verify()
        candidate.accept()
        until = time.monotonic() + self._settings.serving.overlap_seconds
        while time.monotonic() < until:
            candidate.require_alive()
            yield
        candidate.require_no_failures()
        self._candidate = None
        former, self._serving = self._serving, candidate
        log.info("worker pool serves", extra={"bento": target.bento.bento})
        if former is not None:
            self._drain(former)
            # The status ``serving`` means that no other pool accepts.
            while former.answers():
                yield

    def _report_all(self, desired: _Desired, failures: list[str]) -> None:
        served = self._serving.target if self._serving is not None else None
        reason = failures[0] if failures else ""
        for revision, present in (
            (desired.serve, served.bento if served else None),
            (desired.shadow, served.shadow if served else None),
        ):
            if revision is not None:
                is_served = revision.bento == present
                self._report(revision, "serving" if is_served else "failed", "" if is_served else reason)
        if served is None:
            self._retry_at = time.monotonic() + _RETRY_SECONDS

    def _report(self, revision: Revision, phase: Phase, reason: str = "") -> None:
        try:
            self._state.report(revision, phase, reason)
        except (ServingStateError, ProjectMismatchError) as error:  # such as a full disk: serving continues
            log.error("status not written", extra={"bento": revision.bento.bento, "phase": phase, "reason": str(error)})

    def _serve_nothing(self) -> None:
        if self._serving is not None and self._public is not None:
            self._drain(self._serving)
            self._serving = None
            # If this process kept the socket, connections would wait in its queue instead of being refused.
            self._public.close()
            self._public = None

    def _drop_candidate(self) -> None:
        if self._candidate is not None:
            self._drain(self._candidate)
            self._candidate = None

    def _drain(self, pool: WorkerPool) -> None:
        pool.drain()
        self._leaving.append(pool)


def run(settings: Settings) -> None:
    """Serve the desired Bento until SIGTERM or SIGINT; while there is none, wait.

    Raises:
        ListenerError: The public address is not available, or another runner serves this endpoint.
    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    runner = Runner(settings)
    log.info("runner started", extra={"serving_dir": str(settings.serving_dir)})
    try:
        while not ended.wait(_POLL_SECONDS):
            runner.step()
    finally:
        runner.stop()
    log.info("runner ended")
