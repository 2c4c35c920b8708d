"""``POST /predict``: the prediction for one customer."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from include.logs import get_logger
from include.serving.endpoint.authentication import is_private
from include.serving.endpoint.errors import RequestError
from include.serving.endpoint.metrics import PredictionMetrics
from include.serving.endpoint.requests import LARGEST_FLOAT32, PredictRequestReader, Row
from include.serving.endpoint.responses import Prediction, Reasons
from include.serving.endpoint.scorer import Customer, Scorer
from include.serving.online_store import CustomerFeatures, OnlineStore, StoreError
from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract, ModelContract
from include.training.model.explain import explain

log = get_logger(__name__)


class Predictor:
    """Handles ``POST /predict``.

    Args:
        contract: The model's contract.
        model_version: The registry's version of the model.
        reader: Reads the request's body.
        stored: Looks up features for requests without features.
        scorer: Scores rows.
        explainer: Explains predictions.
    """

    def __init__(
        self,
        contract: ModelContract,
        model_version: str,
        reader: PredictRequestReader,
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

    async def handle(self, request: Request) -> Response:
        """Return the prediction.

        Raises:
            RequestError: The request is not valid, or the online store has no features of the customer.
        """
        body = self._reader.read(await request.body())
        start = time.perf_counter()
        row, stored = body.row(), None
        if row is None:
            stored = await self._stored.read(body.customer_id)
            row = stored.row
        # The runner sends samples, not customers: their predictions are neither logged nor counted.
        is_public = not is_private(request.scope)
        day = stored.day if stored else None
        probability = await self._scorer.score(Customer(body.customer_id, row, day, logged=is_public))
        prediction = Prediction(
            customer_id=body.customer_id,
            churn_probability=probability,
            prediction=self._contract.decide(probability),
            model_version=self._model_version,
        )
        if stored is not None:
            prediction.features_day = stored.day
            if stored.stale:
                prediction.stale = True
        if body.reasons:
            prediction.reasons = await self._explainer.reasons(row)
        if is_public:
            self._metrics.count(prediction.prediction)
            self._metrics.observe_latency(time.perf_counter() - start)
        return Response(prediction.as_json(), media_type="application/json")


class Explainer:
    """Explains predictions in a separate thread, one at a time, because an explanation takes longer than a prediction.

    Args:
        bundle: The model.
        top: The largest number of reasons in each direction.
    """

    def __init__(self, bundle: Bundle, top: int) -> None:
        self._bundle = bundle
        self._top = top
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="explain")

    async def reasons(self, row: Row) -> Reasons:
        """Return the features that raise and that lower the risk of one row."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._explain, row)

    def _explain(self, row: Row) -> Reasons:
        matrix = self._bundle.contract.encode_rows([row])
        return Reasons.model_validate(explain(self._bundle, matrix, self._top)[0])


@dataclass(frozen=True, slots=True)
class StoredRow:
    """The features of one customer in the online store.

    Attributes:
        row: Values in the contract's order.
        day: The snapshot day of the values.
        stale: Whether the day is older than the limit.
    """

    row: Row
    day: dt.date
    stale: bool


class StoredFeatures:
    """Looks up features in the online store, for one model.

    Stored features have passed the checks of gold. They are read as for the retention list: an unknown category and an
    absent value are missing values for the model, and a number outside the contract's range is scored and counted.

    Args:
        contract: The model's contract.
        store: The online store; None when none is configured.
        stale_after_days: The age in days beyond which features are stale.
    """

    def __init__(self, contract: ModelContract, store: OnlineStore | None, stale_after_days: int) -> None:
        self._contract = contract
        self._store = store
        self._stale_after = dt.timedelta(days=stale_after_days)
        self._is_available = True

    async def read(self, customer_id: str) -> StoredRow:
        """Return the customer's features.

        Raises:
            RequestError: 404 when the store has no features of the customer; 503 when no store is configured, when
                the store is unavailable, or when the model cannot read the stored features.
        """
        found = await self._get(customer_id)
        if found is None:
            raise RequestError(404, "unknown_customer", "The online store has no features of this customer.")
        today = dt.datetime.now(dt.UTC).date()
        return StoredRow(self._row(found), found.day, today - found.day > self._stale_after)

    async def close(self) -> None:
        """Close the store."""
        if self._store is not None:
            await self._store.close()

    async def _get(self, customer_id: str) -> CustomerFeatures | None:
        if self._store is None:
            raise RequestError(503, "no_online_store", "No online store is configured. Send the features.")
        try:
            found = await self._store.get(customer_id)
        except StoreError as error:
            if self._is_available:
                log.error("online store unavailable", extra={"error": str(error)})
            self._is_available = False
            message = "The online store is unavailable. Send the features, or try again later."
            raise RequestError(503, "online_store_unavailable", message) from None
        if not self._is_available:
            log.info("online store available again")
        self._is_available = True
        return found

    def _row(self, found: CustomerFeatures) -> Row:
        features = self._contract.features
        unfit = [feature.name for feature in features if not _fits(feature, found.features)]
        if unfit:
            reason = "The online store has no value that the model can read."
            problems = [{"field": f"features.{name}", "reason": reason} for name in unfit]
            message = "The stored features are not those of the model. Send the features."
            raise RequestError(503, "stored_features_unfit", message, problems)
        return [found.features[feature.name] for feature in features]


def _fits(feature: FeatureContract, stored: dict[str, float | str | None]) -> bool:
    if feature.name not in stored:
        return False
    value = stored[feature.name]
    if feature.categories or value is None:
        return True
    return not isinstance(value, str) and abs(value) <= LARGEST_FLOAT32
