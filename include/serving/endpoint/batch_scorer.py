"""Scores many rows beside the event loop, so that single requests do not wait for them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from include.serving.endpoint.scorer import RangeCounter
from include.serving.prediction_log.log import PredictionLog
from include.serving.prediction_log.predictions import Predictions
from include.training.model.bundle import Bundle

_SLICE_ROWS = 1000

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Customers who were sent together.

    Attributes:
        customer_ids: The n customers.
        matrix: Their validated features, encoded, shape (n, number of features).
    """

    customer_ids: Sequence[str]
    matrix: NDArray[np.float32]


class BatchScorer:
    """Scores batches in one thread, a slice at a time: of two batches neither waits for all of the other.

    Args:
        bundle: The model.
        log: Is given every answer.
    """

    def __init__(self, bundle: Bundle, log: PredictionLog) -> None:
        self._bundle = bundle
        self._log = log
        self._range = RangeCounter(bundle.contract)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batch")

    async def beside(self, work: Callable[[], T]) -> T:
        """Return the result of ``work``, done in the thread of the batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def score(self, batch: Batch) -> NDArray[np.float32]:
        """Return the churn probability of each row, shape (n,)."""
        starts = range(0, len(batch.matrix), _SLICE_ROWS)
        slices = [await self.beside(lambda start=start: self._slice(batch, start)) for start in starts]  # type: ignore[misc]
        probabilities = np.concatenate(slices)
        self._log.append(Predictions(batch.customer_ids, batch.matrix, probabilities, dt.datetime.now(dt.UTC)))
        return probabilities

    def _slice(self, batch: Batch, start: int) -> NDArray[np.float32]:
        rows = batch.matrix[start : start + _SLICE_ROWS]
        self._range.count(rows)
        return self._bundle.predict_matrix(rows)
