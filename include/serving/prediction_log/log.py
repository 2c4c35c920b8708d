"""The log inside a server process: answers wait in memory, one thread writes them, another delivers finished parts.

A request never waits for a disk or a store, and none of their failures reaches it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

from prometheus_client import Counter

from include.logs import get_logger
from include.serving.prediction_log.answers import Answers
from include.serving.prediction_log.parts import PartStore, deliver_spool, part_store, spool_folder
from include.serving.prediction_log.shadow import load_shadow
from include.serving.prediction_log.writer import PartWriter
from include.serving.shutdown_timeouts import LOG_SECONDS
from include.settings import PredictionLogSettings, Settings
from include.training.model.contract import ModelContract

log = get_logger(__name__)

LOGGED = Counter("ml_prediction_log_rows_total", "Answers written to the prediction log.")
LOST = Counter("ml_prediction_log_lost_total", "Answers that the prediction log could not keep.")

_SECONDS_BETWEEN_ERRORS = 60.0


def open_prediction_log(contract: ModelContract, model_version: str, bento: str, settings: Settings) -> PredictionLog:
    """Return the log of a server that answers with the model of ``contract``; it does nothing where it is off.

    Args:
        contract: The contract of the model that answers.
        model_version: Its version.
        bento: The Bento's version, which is part of the names of the files.
        settings: Where the log is kept, and the shadow.
    """
    return PredictionLog(
        contract,
        model_version,
        bento,
        settings.serving.log,
        spool_folder(settings),
        part_store(settings),
        Path(settings.shadow_bundle) if settings.shadow_bundle else None,
        settings.shadow_version,
    )


class PredictionLog:
    """Keeps every answer, in batches.

    Args:
        contract: The contract of the model that answers.
        model_version: Its version.
        source: Who writes; part of the names of the files.
        settings: How often, and how much.
        spool: The folder of the parts that are being written.
        store: Where they are delivered.
        shadow_bundle: The folder of the shadow's bundle; None without a shadow.
        shadow_version: The version of the shadow.
    """

    def __init__(
        self,
        contract: ModelContract,
        model_version: str,
        source: str,
        settings: PredictionLogSettings,
        spool: Path,
        store: PartStore,
        shadow_bundle: Path | None = None,
        shadow_version: str = "",
    ) -> None:
        self._contract = contract
        self._model_version = model_version
        self._source = source
        self._settings = settings
        self._spool = spool
        self._store = store
        self._shadow_bundle = shadow_bundle
        self._shadow_version = shadow_version
        self._waiting: list[Answers] = []
        self._waiting_rows = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._delivery_due = threading.Event()
        self._writer = threading.Thread(target=self._write_until_ended, name="prediction-log", daemon=True)
        self._courier = threading.Thread(target=self._deliver_until_ended, name="prediction-courier", daemon=True)
        self._last_shown: dict[str, float] = {}

    def append(self, answers: Answers) -> None:
        """Keep ``answers``; never blocks and never raises. What memory has no room for is counted as lost."""
        rows = len(answers.customer_ids)
        if not self._settings.enabled or not rows:
            return
        with self._lock:
            has_room = self._waiting_rows < self._settings.max_waiting_rows
            if has_room:
                self._waiting.append(answers)
                self._waiting_rows += rows
        if not has_room:
            LOST.inc(rows)

    async def start(self) -> None:
        """Start to write, and deliver what processes that died have left."""
        if self._settings.enabled:
            self._writer.start()
            self._courier.start()

    async def close(self) -> None:
        """Write and deliver everything; what cannot be delivered within seconds is left to the next start."""
        if not self._writer.is_alive():
            return
        self._ended.set()
        await asyncio.to_thread(self._writer.join, LOG_SECONDS)
        self._delivery_due.set()
        await asyncio.to_thread(self._courier.join, LOG_SECONDS)

    def _write_until_ended(self) -> None:
        shadow = None
        if self._shadow_bundle is not None:
            shadow = load_shadow(self._shadow_bundle, self._shadow_version, self._contract)
        writer = PartWriter(self._contract, self._model_version, self._source, self._settings, self._spool, shadow)
        while not self._ended.wait(self._settings.flush_seconds):
            self._flush(writer)
            if writer.is_due:
                writer.finish()
                self._delivery_due.set()
        self._flush(writer)
        writer.finish()

    def _flush(self, writer: PartWriter) -> None:
        with self._lock:
            groups, self._waiting, self._waiting_rows = self._waiting, [], 0
        for day in sorted({group.day for group in groups}):
            todays = [group for group in groups if group.day == day]
            rows = sum(len(group.customer_ids) for group in todays)
            try:
                writer.write(day, todays)
                LOGGED.inc(rows)
            except Exception as error:  # noqa: BLE001  # whatever it is, answering goes on
                LOST.inc(rows)
                self._show("answers not logged", error)

    def _deliver_until_ended(self) -> None:
        is_last = False
        while not is_last:
            is_last = not self._writer.is_alive()
            try:
                deliver_spool(self._spool, self._store)
            except Exception as error:  # noqa: BLE001  # a store fails in many ways, and may answer the next time
                self._show("prediction log not delivered", error)
            if not is_last:
                self._delivery_due.wait(self._settings.rotate_seconds)
                self._delivery_due.clear()

    def _show(self, event: str, error: Exception) -> None:
        now = time.monotonic()
        if now - self._last_shown.get(event, -_SECONDS_BETWEEN_ERRORS) >= _SECONDS_BETWEEN_ERRORS:
            self._last_shown[event] = now
            log.error(event, extra={"error": type(error).__name__, "errno": getattr(error, "errno", None)})
