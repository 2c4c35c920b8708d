"""One booster call for all requests that arrive together."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from include.serving.endpoint.metrics import OUT_OF_RANGE
from include.serving.endpoint.requests import Row
from include.serving.prediction_log.log import PredictionLog
from include.serving.prediction_log.predictions import Predictions
from include.training.model.bundle import Bundle
from include.training.model.contract import ModelContract


@dataclass(frozen=True, slots=True)
class Question:
    """One row to score.

    Attributes:
        customer_id: Whose row it is.
        row: Validated values in the contract's order.
        features_day: The day of the values, where they were stored.
        logged: Whether the answer belongs into the prediction log.
    """

    customer_id: str
    row: Row
    features_day: dt.date | None = None
    logged: bool = True


class Scorer:
    """Scores rows that arrive within one turn of the event loop in one call.

    A call costs about as much for dozens of rows as for one, so that this adds throughput and no waiting.

    Args:
        bundle: The model.
        log: Is given the answers.
    """

    def __init__(self, bundle: Bundle, log: PredictionLog) -> None:
        self._bundle = bundle
        self._log = log
        self._range = RangeCounter(bundle.contract)
        self._waiting: list[tuple[Question, asyncio.Future[float]]] = []

    async def score(self, question: Question) -> float:
        """Return the churn probability of one row."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[float] = loop.create_future()
        self._waiting.append((question, answer))
        if len(self._waiting) == 1:
            loop.call_soon(self._flush)
        return await answer

    def _flush(self) -> None:
        group, self._waiting = self._waiting, []
        try:
            matrix = self._bundle.contract.encode_rows([question.row for question, _ in group])
            self._range.count(matrix)
            probabilities = self._bundle.predict_matrix(matrix)
        except Exception as error:  # noqa: BLE001  # whatever it is, those who wait must hear of it
            for _, answer in group:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), probability in zip(group, probabilities.tolist(), strict=True):
            if not answer.done():
                answer.set_result(probability)
        self._tell([question for question, _ in group], matrix, probabilities)

    def _tell(self, questions: list[Question], matrix: NDArray[np.float32], probabilities: NDArray[np.float32]) -> None:
        logged = [position for position, question in enumerate(questions) if question.logged]
        if len(logged) < len(questions):
            questions, matrix, probabilities = [questions[i] for i in logged], matrix[logged], probabilities[logged]
        if questions:
            self._log.append(
                Predictions(
                    customer_ids=[question.customer_id for question in questions],
                    matrix=matrix,
                    probabilities=probabilities,
                    answered_at=dt.datetime.now(dt.UTC),
                    features_day=[question.features_day for question in questions],
                )
            )


class RangeCounter:
    """Counts values that are scored although they lie beyond the contract's range.

    Args:
        contract: Its minimum and maximum of each feature.
    """

    def __init__(self, contract: ModelContract) -> None:
        bounds = [(feature.minimum, feature.maximum) for feature in contract.features]
        self._least = np.array([-np.inf if least is None else least for least, _ in bounds], dtype=np.float32)
        self._most = np.array([np.inf if most is None else most for _, most in bounds], dtype=np.float32)
        self._names = contract.feature_names

    def count(self, matrix: NDArray[np.float32]) -> None:
        """Count the values of encoded rows, shape (n, number of features), by feature."""
        outside = (matrix < self._least) | (matrix > self._most)  # false for what is missing
        if outside.any():
            for position, number in enumerate(outside.sum(axis=0).tolist()):
                if number:
                    OUT_OF_RANGE.labels(self._names[position]).inc(number)
