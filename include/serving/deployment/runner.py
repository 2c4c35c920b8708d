"""The supervised process that keeps the endpoint at what the pointers ask for, without a pause between two models."""

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
from include.serving.deployment.generation import Generation, Target
from include.serving.deployment.listener import bind_public, lock_endpoint, private_folder
from include.serving.deployment.outcome import State, write_outcome
from include.serving.deployment.pointer import (
    CURRENT,
    NOTHING,
    PREVIOUS,
    SHADOW,
    BentoReference,
    Order,
    PointerError,
    read_order,
    read_pointer,
)
from include.serving.deployment.process import end_processes_of
from include.serving.shutdown_timeouts import STOP_SECONDS
from include.settings import Settings

log = get_logger(__name__)

_POLL_SECONDS = 0.1
_RETRY_SECONDS = 10.0


@dataclass(frozen=True)
class _Desired:
    current: Order = NOTHING
    shadow: Order = NOTHING


class Runner:
    """Keeps one generation of servers behind the public address, and changes it when a pointer changes.

    A new generation answers nobody until it has answered all recorded samples as training did. Then both accept for a
    short while, and if the new one answers without an error, the old one hands its clients over. When anything fails,
    the old one has never stopped.

    Args:
        settings: Where the pointers lie and where the endpoint listens.

    Raises:
        ListenerError: The public address cannot be had, or another runner has it.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._directory = settings.serving_dir
        self._home = settings.serving_dir / "live"
        self._lock = lock_endpoint(settings.serving_dir)
        # A runner that was killed leaves its servers and their files.
        end_processes_of(self._home)
        self._folder = private_folder(settings.serving_dir)
        self._public: socket.socket | None = bind_public(settings.serving)
        self._numbers = itertools.count(1)
        self._decided = _Desired()
        self._serving: Generation | None = None
        self._candidate: Generation | None = None
        self._leaving: list[Generation] = []
        self._change: Iterator[None] = iter(())
        self._retry_at = math.inf
        self._unreadable: set[str] = set()

    def step(self) -> None:
        """Compare what runs with the pointers, once, and act on the difference; never waits for long."""
        desired = self._read_desired()
        if desired != self._decided or time.monotonic() >= self._retry_at:
            self._give_up_candidate()
            self._decided, self._retry_at = desired, math.inf
            self._change = self._change_to(desired)
        next(self._change, None)
        if self._serving is not None:
            self._serving.tend()
        self._leaving = [generation for generation in self._leaving if not generation.is_gone()]

    def stop(self) -> None:
        """End everything; nobody takes over."""
        self._give_up_candidate()
        left = [*self._leaving, *([self._serving] if self._serving else [])]
        for generation in left:
            generation.ask_to_stop()
        deadline = time.monotonic() + STOP_SECONDS
        for generation in left:
            generation.wait_until_gone(deadline)
        if self._public is not None:
            self._public.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.release()

    def _read_desired(self) -> _Desired:
        # What runs is better than nothing, and a shadow is not needed to serve.
        return _Desired(self._read_order(CURRENT, self._decided.current), self._read_order(SHADOW, NOTHING))

    def _read_order(self, name: str, otherwise: Order) -> Order:
        try:
            order = read_order(self._directory, name)
        except PointerError as error:
            if name not in self._unreadable:
                log.error("pointer unreadable", extra={"reason": str(error)})
            self._unreadable.add(name)
            return otherwise
        self._unreadable.discard(name)
        return order

    def _change_to(self, desired: _Desired) -> Iterator[None]:
        """Bring ``desired`` into service, a step at a time: what serves is looked after in between."""
        if desired.current.reference is None:
            self._serve_nothing()
            return
        self._report(desired.current, CURRENT, "starting")
        failures: list[str] = []
        for target in self._attempts(desired.current.reference, desired.shadow.reference):
            if self._serving is not None and self._serving.target == target:
                break
            try:
                yield from self._replace_by(target)
                break
            except (ChurnflowError, OSError) as error:
                log.error("change failed", extra={"bento": target.bento.bento, "reason": str(error)})
                failures.append(str(error))
                self._give_up_candidate()
        self._settle(desired, failures)

    def _attempts(self, bento: BentoReference, shadow: BentoReference | None) -> list[Target]:
        """Return what to try, in this order: a shadow must not hinder serving, and the former Bento beats none."""
        attempts = [Target(bento, shadow)] if shadow else []
        attempts.append(Target(bento))
        if self._serving is None and (former := self._read_former()) is not None:
            attempts.append(Target(former))
        return attempts

    def _read_former(self) -> BentoReference | None:
        with suppress(PointerError):
            return read_pointer(self._directory, PREVIOUS)
        return None

    def _replace_by(self, target: Target) -> Iterator[None]:
        if self._public is None:
            self._public = bind_public(self._settings.serving)
        folder = self._folder / str(next(self._numbers))
        candidate = Generation(target, folder, self._home, self._settings, self._public)
        log.info("generation starts", extra={"bento": target.bento.bento})
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
        log.info("generation serves", extra={"bento": target.bento.bento})
        if former is not None:
            self._let_go(former)
            # Who hears that the new one serves may rely on nobody else doing so.
            while former.answers():
                yield

    def _settle(self, desired: _Desired, failures: list[str]) -> None:
        """Tell those who wait what has become of their orders."""
        served = self._serving.target if self._serving is not None else None
        reason = failures[0] if failures else ""
        for name, order, present in (
            (CURRENT, desired.current, served.bento if served else None),
            (SHADOW, desired.shadow, served.shadow if served else None),
        ):
            if order.reference == present:
                self._report(order, name, "serving")
            else:
                self._report(order, name, "failed", reason)
        if served is None:
            self._retry_at = time.monotonic() + _RETRY_SECONDS

    def _report(self, order: Order, name: str, state: State, reason: str = "") -> None:
        write_outcome(self._directory, order, state, reason, name)

    def _serve_nothing(self) -> None:
        if self._serving is not None and self._public is not None:
            self._let_go(self._serving)
            self._serving = None
            # While this process holds it, clients wait in its queue instead of being refused.
            self._public.close()
            self._public = None

    def _give_up_candidate(self) -> None:
        if self._candidate is not None:
            self._let_go(self._candidate)
            self._candidate = None

    def _let_go(self, generation: Generation) -> None:
        generation.drain()
        self._leaving.append(generation)


def run(settings: Settings) -> None:
    """Serve what the pointer names until SIGTERM or SIGINT; with no pointer, wait for one.

    Raises:
        ListenerError: The public address cannot be had.
    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    runner = Runner(settings)
    log.info("runner waits for a pointer", extra={"serving_dir": str(settings.serving_dir)})
    try:
        while not ended.wait(_POLL_SECONDS):
            runner.step()
    finally:
        runner.stop()
    log.info("runner ended")
