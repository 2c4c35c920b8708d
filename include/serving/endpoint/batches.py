"""``POST /predict_batch``: many customers as columns, in JSON or in Arrow."""

from __future__ import annotations

import time

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from include.serving.endpoint.answers import BatchPrediction
from include.serving.endpoint.batch_arrow import ARROW, ArrowBatchReader, arrow_answer
from include.serving.endpoint.batch_json import JsonBatchReader
from include.serving.endpoint.batch_scorer import BatchScorer
from include.serving.endpoint.metrics import BATCH_LATENCY, PredictionMetrics
from include.training.model.contract import ModelContract

JSON = "application/json"


class BatchPredictor:
    """Answers ``POST /predict_batch``.

    Args:
        contract: The model's contract.
        model_version: The registry's version of the model.
        json_reader: Reads bodies in JSON.
        arrow_reader: Reads bodies in Arrow.
        scorer: Scores batches.
    """

    def __init__(
        self,
        contract: ModelContract,
        model_version: str,
        json_reader: JsonBatchReader,
        arrow_reader: ArrowBatchReader,
        scorer: BatchScorer,
    ) -> None:
        self._contract = contract
        self._model_version = model_version
        self._json = json_reader
        self._arrow = arrow_reader
        self._scorer = scorer
        self._metrics = PredictionMetrics(model_version)
        self._latency = BATCH_LATENCY.labels(model_version)

    async def answer(self, request: Request) -> Response:
        """Return the churn probability of every customer, in the form that was asked for or else sent.

        Raises:
            RefusalError: The batch is not understood.
        """
        start = time.perf_counter()
        body = await request.body()
        sent_as = ARROW if ARROW in request.headers["content-type"].lower() else JSON
        reader = self._arrow if sent_as == ARROW else self._json
        batch = await self._scorer.beside(lambda: reader.read(body))
        probabilities = await self._scorer.score(batch)
        version = self._model_version
        churns = self._contract.predicts_churn(probabilities)
        if _answer_as(request.headers.get("accept", ""), sent_as) == ARROW:
            response = Response(arrow_answer(batch, probabilities, churns, version), media_type=ARROW)
        else:
            prediction = BatchPrediction(
                customer_ids=list(batch.customer_ids),
                churn_probabilities=probabilities.tolist(),
                predictions=np.where(churns, "churn", "retain").tolist(),
                model_version=version,
            )
            response = Response(prediction.model_dump_json(), media_type=JSON)
        self._metrics.count("churn", int(churns.sum()))
        self._metrics.count("retain", int((~churns).sum()))
        self._latency.observe(time.perf_counter() - start)
        return response


def _answer_as(accept: str, sent_as: str) -> str:
    """Return the media type of the answer: the one that is accepted, or the request's where both or none are."""
    accepted = [kind for kind in (ARROW, JSON) if kind in accept.lower()]
    return accepted[0] if len(accepted) == 1 else sent_as
