"""Groups of answers to parts in the spool, with what the shadow makes of them."""

from __future__ import annotations

import datetime as dt
import errno
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from include.logs import get_logger
from include.serving.prediction_log.answers import Answers, part_batch, part_schema
from include.serving.prediction_log.shadow import Shadow
from include.serving.prediction_log.spool import SpoolFile, spooled_bytes
from include.settings import PredictionLogSettings
from include.training.model.contract import ModelContract

log = get_logger(__name__)

SHADOWED = Counter("ml_shadow_predictions_total", "Answers that the shadow scored, too.", ["model_version"])
SHADOW_SKIPPED = Counter("ml_shadow_skipped_total", "Answers that the shadow did not score.", ["reason"])


class PartWriter:
    """Writes parts, one at a time; a part holds rows of one UTC day.

    Args:
        contract: The contract of the model that answers.
        model_version: Its version.
        source: Who writes; part of the names of the files.
        settings: How old and how large a part becomes, and whether features are kept.
        spool: The folder of the parts.
        shadow: The model that scores the same rows aside.
    """

    def __init__(
        self,
        contract: ModelContract,
        model_version: str,
        source: str,
        settings: PredictionLogSettings,
        spool: Path,
        shadow: Shadow | None,
    ) -> None:
        self._contract = contract
        self._source = source
        self._settings = settings
        self._spool = spool
        self._shadow = shadow
        self._schema = part_schema(contract, model_version, shadow.version if shadow else None, settings.features)
        self._part: SpoolFile | None = None
        self._opened = 0.0

    def write(self, day: dt.date, groups: Sequence[Answers]) -> None:
        """Append the answers of one UTC day.

        Raises:
            OSError: The disk refused, or the spool holds what it may; none of them is written.
        """
        if spooled_bytes(self._spool) >= self._settings.max_spool_bytes:
            raise OSError(errno.EDQUOT, "the spool is full")
        if self._part is not None and self._part.day != day:
            self.finish()
        if self._part is None:
            self._part, self._opened = SpoolFile(self._spool, day, self._source, self._schema), time.monotonic()
        shadow_contract = self._shadow.contract if self._shadow else None
        self._part.write(part_batch(self._schema, self._contract, groups, shadow_contract, self._shadow_scores(groups)))

    @property
    def is_due(self) -> bool:
        """Whether the part is old or large enough to be delivered."""
        if self._part is None:
            return False
        age = time.monotonic() - self._opened
        return age >= self._settings.rotate_seconds or self._part.size >= self._settings.rotate_bytes

    def finish(self) -> None:
        """Finish the part, if there is one, for the courier to take."""
        if self._part is not None:
            self._part.close()
            self._part = None

    def _shadow_scores(self, groups: Sequence[Answers]) -> NDArray[np.float32] | None:
        if self._shadow is None:
            return None
        rows = sum(len(group.customer_ids) for group in groups)
        # It is slower than the log: where answers come faster than it scores, they go on without it.
        if rows > self._settings.max_waiting_rows // 2:
            SHADOW_SKIPPED.labels("too_many").inc(rows)
            return None
        try:
            scores = self._shadow.score(np.concatenate([group.matrix for group in groups]))
        except Exception as error:  # noqa: BLE001  # a challenger that fails must not cost the champion's log
            SHADOW_SKIPPED.labels("failed").inc(rows)
            log.error("shadow failed", extra={"error": type(error).__name__})
            return None
        SHADOWED.labels(self._shadow.version).inc(rows)
        return scores
