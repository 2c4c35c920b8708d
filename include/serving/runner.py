"""The supervised process that keeps the endpoint at what the pointer asks for."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

from include.logs import get_logger
from include.serving.pointer import BentoReference, PointerError, read_pointer
from include.serving.process import BentoServer
from include.settings import Settings

log = get_logger(__name__)

_POLL_SECONDS = 0.3
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


class Runner:
    """Converges one server to the pointer: start, replace, restart after a crash, stop.

    Args:
        settings: Where the pointer lies and where the endpoint listens.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server: BentoServer | None = None
        self._serves: BentoReference | None = None
        self._pause = _FIRST_PAUSE
        self._not_before = 0.0

    def step(self) -> None:
        """Compare what runs with the pointer, once, and act on the difference."""
        desired = self._desired()
        if desired != self._serves:
            self.stop()
            self._serves = desired
            self._pause, self._not_before = _FIRST_PAUSE, 0.0
        if self._server is not None and self._server.exit_code is not None:
            self._after_crash(self._server)
        if desired is not None and self._server is None and time.monotonic() >= self._not_before:
            self._start(desired)

    def stop(self) -> None:
        """Stop the server, if one runs."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    def _desired(self) -> BentoReference | None:
        try:
            return read_pointer(self._settings.serving_dir)
        except PointerError as error:
            # What runs is better than nothing.
            log.error("pointer unreadable", extra={"reason": str(error)})
            return self._serves

    def _start(self, desired: BentoReference) -> None:
        log.info("server starts", extra=desired.as_dict())
        home = self._settings.serving_dir / "live"
        if not Path(desired.path).is_dir():
            log.error("bento is missing", extra={"path": desired.path})
            self._back_off()
            return
        self._server = BentoServer(Path(desired.path), home, self._settings.serving.port, self._settings.serving)
        self._started = time.monotonic()

    def _after_crash(self, server: BentoServer) -> None:
        if time.monotonic() - self._started > _LONGEST_PAUSE:
            self._pause = _FIRST_PAUSE
        log.error("server ended", extra={"exit_code": server.exit_code, "pause_seconds": self._pause})
        self.stop()
        self._back_off()

    def _back_off(self) -> None:
        self._not_before = time.monotonic() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)


def run(settings: Settings) -> None:
    """Serve what the pointer names until SIGTERM or SIGINT; with no pointer, wait for one."""
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
