"""``POST /predict``: one customer, one answer."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import Request
from starlette.responses import Response

from include.serving.endpoint.answers import Prediction, Reasons
from include.serving.endpoint.authentication import is_private
from include.serving.endpoint.metrics import PredictionMetrics
from include.serving.endpoint.requests import RequestReader, Row
from include.serving.endpoint.scorer import Question, Scorer
from include.serving.endpoint.stored import StoredFeatures
from include.training.model.bundle import Bundle
from include.training.model.contract import ModelContract
from include.training.model.explain import explain


class Predictor:
    """Answers ``POST /predict``.

    Args:
        contract: The model's contract.
        model_version: The registry's version of the model.
        reader: Reads the bodies.
        stored: Knows the features of customers who are named by id alone.
        scorer: Scores rows.
        explainer: Gives reasons.
    """

    def __init__(
        self,
        contract: ModelContract,
        model_version: str,
        reader: RequestReader,
        stored: StoredFeatures,
        scorer: Scorer,
        explainer: Explainer,
    ) -> None:
        self._contract = contract
        self._model_version = model_version
        self._reader = reader
        self._stored = stored
        self._scorer = scorer
        self._explainer = explainer
        self._metrics = PredictionMetrics(model_version)

    async def answer(self, request: Request) -> Response:
        """Return the churn probability of one customer and what the model's threshold makes of it.

        Raises:
            RefusalError: The request is not understood, or nothing is known about the customer.
        """
        asked = self._reader.read(await request.body())
        start = time.perf_counter()
        row, stored = asked.row(), None
        if row is None:
            stored = await self._stored.read(asked.customer_id)
            row = stored.row
        # What the runner asks are samples of training, and nobody's customers.
        for_somebody = not is_private(request.scope)
        day = stored.day if stored else None
        probability = await self._scorer.score(Question(asked.customer_id, row, day, for_somebody))
        prediction = Prediction(
            customer_id=asked.customer_id,
            churn_probability=probability,
            prediction=self._contract.decide(probability),
            model_version=self._model_version,
        )
        if stored is not None:
            prediction.features_day = stored.day
            if stored.stale:
                prediction.stale = True
        if asked.reasons:
            prediction.reasons = await self._explainer.reasons(row)
        if for_somebody:
            self._metrics.count(prediction.prediction)
            self._metrics.took(time.perf_counter() - start)
        return Response(prediction.as_json(), media_type="application/json")


class Explainer:
    """Gives reasons in a thread of its own, one row at a time: they take longer than a prediction.

    Args:
        bundle: The model.
        top: How many reasons there are in each direction, at most.
    """

    def __init__(self, bundle: Bundle, top: int) -> None:
        self._bundle = bundle
        self._top = top
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="explain")

    async def reasons(self, row: Row) -> Reasons:
        """Return what raises and what lowers the risk of one row."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._explain, row)

    def _explain(self, row: Row) -> Reasons:
        matrix = self._bundle.contract.encode_rows([row])
        return Reasons.model_validate(explain(self._bundle, matrix, self._top)[0])
