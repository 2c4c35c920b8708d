"""The prediction log inside a server process.

Requests append predictions to a buffer in memory. One thread writes them every few seconds as a segment into the spool,
another thread delivers segments to their destination. A request never waits for a disk or a store, and never fails
because of them. A process that is killed loses the content of the buffer.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import errno
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from include.logs import get_logger
from include.serving.prediction_log.predictions import Predictions, segment_rows
from include.serving.prediction_log.segments import (
    SegmentStore,
    deliver_spool,
    new_segment_name,
    segment_store,
    spool_folder,
    spooled_bytes,
    write_segment,
)
from include.serving.prediction_log.shadow import Shadow, load_shadow
from include.serving.shutdown_timeouts import LOG_SECONDS
from include.settings import PredictionLogSettings, Settings
from include.training.model.contract import ModelContract

log = get_logger(__name__)

LOGGED = Counter("ml_prediction_log_rows_total", "Predictions written to the prediction log.")
LOST = Counter("ml_prediction_log_lost_total", "Predictions that the prediction log had no room for.")
SHADOWED = Counter("ml_shadow_predictions_total", "Predictions that the shadow scored too.", ["model_version"])
SHADOW_SKIPPED = Counter("ml_shadow_skipped_total", "Predictions that the shadow did not score.", ["reason"])

_MAX_SEGMENT_ROWS = 50_000
"""A buffer of this many rows is written before the interval ends, which limits the memory."""
_RETRY_SECONDS = 60.0
_SECONDS_BETWEEN_ERRORS = 60.0


def open_prediction_log(contract: ModelContract, model_version: str, bento: str, settings: Settings) -> PredictionLog:
    """Return the log of a server process; it does nothing if the settings disable it.

    Args:
        contract: The contract of the model that answers.
        model_version: The version of that model.
        bento: The Bento's version, which becomes part of the segments' names.
        settings: The destination of the log, and the shadow.
    """
    return PredictionLog(
        contract,
        model_version,
        bento,
        settings.serving.log,
        spool_folder(settings),
        segment_store(settings),
        Path(settings.shadow_bundle) if settings.shadow_bundle else None,
        settings.shadow_version,
    )


class PredictionLog:
    """Logs every prediction of a server process.

    Args:
        contract: The contract of the model that answers.
        model_version: The version of that model.
        source: The Bento's version, which becomes part of the segments' names.
        settings: Intervals and limits.
        spool: The folder into which segments are written.
        store: The destination of segments.
        shadow_bundle: The bundle of a shadow, which scores the same rows; None without a shadow.
        shadow_version: The version of the shadow.
    """

    def __init__(
        self,
        contract: ModelContract,
        model_version: str,
        source: str,
        settings: PredictionLogSettings,
        spool: Path,
        store: SegmentStore,
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
        self._buffer: list[Predictions] = []
        self._buffered_rows = 0
        self._lock = threading.Lock()
        self._is_closing = False
        self._write_due = threading.Event()
        self._upload_due = threading.Event()
        self._writer = threading.Thread(target=self._write_until_closed, name="prediction-log", daemon=True)
        self._uploader = threading.Thread(target=self._upload_until_closed, name="prediction-upload", daemon=True)
        self._last_reported: dict[str, float] = {}

    def append(self, predictions: Predictions) -> None:
        """Add ``predictions`` to the buffer, or count them as lost if it is full. Never blocks and never raises."""
        rows = len(predictions.customer_ids)
        if not self._settings.enabled or not rows:
            return
        with self._lock:
            has_room = self._buffered_rows < self._settings.max_waiting_rows
            if has_room:
                self._buffer.append(predictions)
                self._buffered_rows += rows
        if not has_room:
            LOST.inc(rows)
        if self._buffered_rows >= _MAX_SEGMENT_ROWS:
            self._write_due.set()

    async def start(self) -> None:
        """Start to write segments, and to deliver them and the segments that ended processes left in the spool."""
        if self._settings.enabled:
            self._writer.start()
            self._uploader.start()

    async def close(self) -> None:
        """Write and deliver all predictions; the next start delivers segments that are not delivered in time."""
        if not self._writer.is_alive():
            return
        self._is_closing = True
        self._write_due.set()
        await asyncio.to_thread(self._writer.join, LOG_SECONDS)
        self._upload_due.set()
        await asyncio.to_thread(self._uploader.join, LOG_SECONDS)

    def _write_until_closed(self) -> None:
        shadow = None
        if self._shadow_bundle is not None:
            shadow = load_shadow(self._shadow_bundle, self._shadow_version, self._contract)
        is_last = False
        while not is_last:
            self._write_due.wait(self._settings.flush_seconds)
            self._write_due.clear()
            is_last = self._is_closing
            self._write_buffer(shadow)

    def _write_buffer(self, shadow: Shadow | None) -> None:
        with self._lock:
            groups, self._buffer, self._buffered_rows = self._buffer, [], 0
        for day in sorted({group.day for group in groups}):
            of_day = [group for group in groups if group.day == day]
            rows = sum(len(group.customer_ids) for group in of_day)
            try:
                self._write_segment(day, of_day, shadow)
                LOGGED.inc(rows)
            except Exception as error:  # noqa: BLE001  # no failure of the log may stop the server's thread
                LOST.inc(rows)
                self._report("predictions not logged", error)
        if groups:
            self._upload_due.set()

    def _write_segment(self, day: dt.date, groups: Sequence[Predictions], shadow: Shadow | None) -> None:
        if spooled_bytes(self._spool) >= self._settings.max_spool_bytes:
            raise OSError(errno.EDQUOT, "the spool is full")
        scores = self._score_shadow(groups, shadow) if shadow else None
        rows = segment_rows(self._contract, self._model_version, groups, shadow, scores, self._settings.features)
        write_segment(self._spool, new_segment_name(day, self._contract.project, self._source), rows)

    def _score_shadow(self, groups: Sequence[Predictions], shadow: Shadow) -> NDArray[np.float32] | None:
        rows = sum(len(group.customer_ids) for group in groups)
        # The shadow is slower than the log. If the shadow falls behind, predictions are logged without its scores.
        if rows > self._settings.max_waiting_rows // 2:
            SHADOW_SKIPPED.labels("too_many").inc(rows)
            return None
        try:
            scores = shadow.score(np.concatenate([group.matrix for group in groups]))
        except Exception as error:  # noqa: BLE001  # no failure of a shadow may affect the champion's log
            SHADOW_SKIPPED.labels("failed").inc(rows)
            log.error("shadow failed", extra={"error": type(error).__name__})
            return None
        SHADOWED.labels(shadow.version).inc(rows)
        return scores

    def _upload_until_closed(self) -> None:
        is_last = False
        while not is_last:
            is_last = not self._writer.is_alive()
            try:
                deliver_spool(self._spool, self._store, self._contract.project)
            except Exception as error:  # noqa: BLE001  # stores raise many errors; the next attempt may succeed
                self._report("predictions not delivered", error)
            if not is_last:
                self._upload_due.wait(_RETRY_SECONDS)
                self._upload_due.clear()

    def _report(self, event: str, error: Exception) -> None:
        now = time.monotonic()
        if now - self._last_reported.get(event, -_SECONDS_BETWEEN_ERRORS) >= _SECONDS_BETWEEN_ERRORS:
            self._last_reported[event] = now
            log.error(event, extra={"error": type(error).__name__, "errno": getattr(error, "errno", None)})
