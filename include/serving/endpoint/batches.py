"""``POST /predict_batch``: the predictions for many customers, sent as columns in JSON or in Arrow."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import Response

from include.plurals import counted
from include.serving.endpoint.batch_arrow import ARROW, ArrowBatchReader, arrow_response_body
from include.serving.endpoint.errors import invalid_input
from include.serving.endpoint.metrics import BATCH_LATENCY, PredictionMetrics
from include.serving.endpoint.requests import JsonValidator, batch_request_model, require_unique_keys
from include.serving.endpoint.responses import BatchPrediction
from include.serving.endpoint.scorer import Batch, BatchScorer
from include.training.model.contract import ModelContract

JSON = "application/json"


class BatchPredictor:
    """Handles ``POST /predict_batch``.

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

    async def handle(self, request: Request) -> Response:
        """Return the predictions, in the format that ``Accept`` names or else in the format of the request.

        Raises:
            RequestError: The batch is not valid.
        """
        start = time.perf_counter()
        body = await request.body()
        request_format = ARROW if ARROW in request.headers.get("content-type", "").lower() else JSON
        reader = self._arrow if request_format == ARROW else self._json
        batch = await self._scorer.run_in_thread(lambda: reader.read(body))
        probabilities = await self._scorer.score(batch)
        version = self._model_version
        churns = self._contract.predicts_churn(probabilities)
        if _response_format(request.headers.get("accept", ""), request_format) == ARROW:
            response = Response(arrow_response_body(batch, probabilities, churns, version), media_type=ARROW)
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


def _response_format(accept: str, request_format: str) -> str:
    """Return the accepted media type; the media type of the request if both types or neither are accepted."""
    accepted = [kind for kind in (ARROW, JSON) if kind in accept.lower()]
    return accepted[0] if len(accepted) == 1 else request_format


class JsonBatchReader:
    """Reads batches in JSON: ``customer_ids``, and a list for each feature.

    Args:
        contract: The model's contract.
        refuse_out_of_range: Whether a number outside the contract's range is an error.
        max_rows: The largest number of rows.
    """

    def __init__(self, contract: ModelContract, refuse_out_of_range: bool, max_rows: int) -> None:
        self.model = batch_request_model(contract, refuse_out_of_range, max_rows)
        self._contract = contract
        self._validator = JsonValidator(contract)

    def read(self, body: bytes) -> Batch:
        """Return the batch in ``body``.

        Raises:
            RequestError: 400 when the body is not JSON; 422 when it breaks the contract.
        """
        request = self._validator.validate(self.model, body)
        columns = request.columns()
        self._require_equal_lengths(columns, len(request.customer_ids))
        categories = (columns[position] for position in self._contract.category_codes)
        texts = sum(value is not None for column in categories for value in column)
        require_unique_keys(body, 2 + len(columns) + len(request.customer_ids) + texts)
        return Batch(request.customer_ids, self._matrix(columns))

    def _require_equal_lengths(self, columns: list[list[float | str | None]], rows: int) -> None:
        problems = [
            {
                "field": f"features.{name}",
                "reason": f"The list has {counted(len(column), 'value')} for {counted(rows, 'customer')}.",
            }
            for name, column in zip(self._contract.feature_names, columns, strict=True)
            if len(column) != rows
        ]
        if problems:
            raise invalid_input(problems)

    def _matrix(self, columns: list[list[float | str | None]]) -> NDArray[np.float32]:
        matrix = np.empty((len(columns[0]), len(columns)), dtype=np.float32)
        for position, column in enumerate(columns):
            codes = self._contract.category_codes.get(position)
            numbers = column if codes is None else [codes.get(value, np.nan) for value in column]  # type: ignore[arg-type]
            matrix[:, position] = np.array(numbers, dtype=np.float32)
        return matrix
