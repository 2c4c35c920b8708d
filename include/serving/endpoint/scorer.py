"""Scoring: single rows grouped into one call of the model, and batches in a thread."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from include.serving.endpoint.metrics import OUT_OF_RANGE
from include.serving.endpoint.requests import Row
from include.serving.prediction_log.log import PredictionLog
from include.serving.prediction_log.predictions import Predictions
from include.training.model.bundle import Bundle
from include.training.model.contract import ModelContract

_CHUNK_ROWS = 1000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Customer:
    """One customer to score.

    Attributes:
        customer_id: The customer.
        row: Validated feature values in the contract's order.
        features_day: The day of the values when they come from the online store.
        logged: Whether the prediction log gets the prediction.
    """

    customer_id: str
    row: Row
    features_day: dt.date | None = None
    logged: bool = True


@dataclass(frozen=True)
class Batch:
    """The customers of one batch.

    Attributes:
        customer_ids: The n customers.
        matrix: Their validated features, encoded, float32 of shape (n, number of features).
    """

    customer_ids: Sequence[str]
    matrix: NDArray[np.float32]


class Scorer:
    """Scores all rows that arrive within one turn of the event loop in one call of the model.

    A call for dozens of rows takes about as long as a call for one row, so grouping adds throughput without delay.

    Args:
        bundle: The model.
        log: The prediction log.
    """

    def __init__(self, bundle: Bundle, log: PredictionLog) -> None:
        self._bundle = bundle
        self._log = log
        self._range = RangeCounter(bundle.contract)
        self._waiting: list[tuple[Customer, asyncio.Future[float]]] = []

    async def score(self, customer: Customer) -> float:
        """Return the churn probability of one customer."""
        loop = asyncio.get_running_loop()
        probability: asyncio.Future[float] = loop.create_future()
        self._waiting.append((customer, probability))
        if len(self._waiting) == 1:
            loop.call_soon(self._flush)
        return await probability

    def _flush(self) -> None:
        group, self._waiting = self._waiting, []
        try:
            matrix = self._bundle.contract.encode_rows([customer.row for customer, _ in group])
            self._range.count(matrix)
            probabilities = self._bundle.predict_matrix(matrix)
        except Exception as error:  # noqa: BLE001  # each waiting request must get the error, or it would wait forever
            for _, waiting in group:
                if not waiting.done():
                    waiting.set_exception(error)
            return
        for (_, waiting), probability in zip(group, probabilities.tolist(), strict=True):
            if not waiting.done():
                waiting.set_result(probability)
        self._append_to_log([customer for customer, _ in group], matrix, probabilities)

    def _append_to_log(
        self, customers: list[Customer], matrix: NDArray[np.float32], probabilities: NDArray[np.float32]
    ) -> None:
        logged = [position for position, customer in enumerate(customers) if customer.logged]
        if len(logged) < len(customers):
            customers, matrix, probabilities = [customers[i] for i in logged], matrix[logged], probabilities[logged]
        if customers:
            self._log.append(
                Predictions(
                    customer_ids=[customer.customer_id for customer in customers],
                    matrix=matrix,
                    probabilities=probabilities,
                    answered_at=dt.datetime.now(dt.UTC),
                    features_day=[customer.features_day for customer in customers],
                )
            )


class BatchScorer:
    """Scores batches in one thread, 1,000 rows at a time, so that concurrent batches take turns.

    Args:
        bundle: The model.
        log: The prediction log.
    """

    def __init__(self, bundle: Bundle, log: PredictionLog) -> None:
        self._bundle = bundle
        self._log = log
        self._range = RangeCounter(bundle.contract)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batch")

    async def run_in_thread(self, work: Callable[[], T]) -> T:
        """Return the result of ``work``, which runs in the thread of the batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def score(self, batch: Batch) -> NDArray[np.float32]:
        """Return the churn probability of each row, shape (n,)."""
        starts = range(0, len(batch.matrix), _CHUNK_ROWS)
        chunks = [await self.run_in_thread(lambda start=start: self._score_chunk(batch, start)) for start in starts]  # type: ignore[misc]
        probabilities = np.concatenate(chunks)
        self._log.append(Predictions(batch.customer_ids, batch.matrix, probabilities, dt.datetime.now(dt.UTC)))
        return probabilities

    def _score_chunk(self, batch: Batch, start: int) -> NDArray[np.float32]:
        rows = batch.matrix[start : start + _CHUNK_ROWS]
        self._range.count(rows)
        return self._bundle.predict_matrix(rows)


class RangeCounter:
    """Counts scored values that are outside the contract's range.

    Args:
        contract: The model's contract.
    """

    def __init__(self, contract: ModelContract) -> None:
        bounds = [(feature.minimum, feature.maximum) for feature in contract.features]
        self._smallest = np.array([-np.inf if least is None else least for least, _ in bounds], dtype=np.float32)
        self._largest = np.array([np.inf if most is None else most for _, most in bounds], dtype=np.float32)
        self._names = contract.feature_names

    def count(self, matrix: NDArray[np.float32]) -> None:
        """Count the values of encoded rows, shape (n, number of features), by feature."""
        outside = (matrix < self._smallest) | (matrix > self._largest)  # false for missing values
        if outside.any():
            for position, number in enumerate(outside.sum(axis=0).tolist()):
                if number:
                    OUT_OF_RANGE.labels(self._names[position]).inc(number)
