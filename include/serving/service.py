"""The BentoML service ``churn``: ``POST /predict``, ``GET /health``, ``GET /metrics``.

It is imported from inside a Bento, where the model bundle lies beside ``include``.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING

import bentoml
from prometheus_client import Counter, Histogram
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import include.serving.lean  # noqa: F401
from include.logs import configure_json_logs, get_logger
from include.serving.guard import BodyGuard
from include.serving.requests import Prediction, PredictRequest, Refusal, request_model
from include.serving.scorer import Scorer
from include.settings import get_settings
from include.training.bundle import Bundle

log = get_logger(__name__)

_BUNDLE = Bundle.load(Path(__file__).resolve().parents[2] / "bundle")
_CONTRACT = _BUNDLE.contract
_SETTINGS = get_settings().serving
_REQUEST_SECONDS = 10

PREDICTIONS = Counter("ml_predictions_total", "Predictions answered.", ["prediction", "model_version"])
LATENCY = Histogram(
    "ml_prediction_latency_seconds",
    "Time from a valid request to its answer.",
    ["model_version"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)

if TYPE_CHECKING:
    ContractRequest = PredictRequest
else:
    ContractRequest = request_model(_CONTRACT)


async def health(_: Request) -> JSONResponse:
    """Say that the model is loaded, and which one it is; the server answers nothing before it is."""
    return JSONResponse(
        {
            "status": "healthy",
            "model_loaded": True,
            "model_version": _CONTRACT.model_version,
            "bento": bentoml.server_context.bento_version,
        }
    )


@bentoml.asgi_app(Starlette(routes=[Route("/health", health)]))
@bentoml.service(
    name="churn",
    workers=_SETTINGS.workers,
    traffic={"timeout": _REQUEST_SECONDS},
    logging={"access": {"enabled": False}},
    # Nothing collects traces, and making them is the largest cost of a request.
    tracing={"excluded_urls": "."},
)
class ChurnService:
    """Answers with the churn probability of one customer."""

    def __init__(self) -> None:
        configure_json_logs()
        self._scorer = Scorer(_BUNDLE)
        # The model and the libraries live as long as the process: the collector need not look at them again.
        gc.collect()
        gc.freeze()
        log.info("model loaded", extra={"model_version": _CONTRACT.model_version, "features": len(_CONTRACT.features)})

    @bentoml.api  # type: ignore[untyped-decorator]  # BentoML has no types
    async def predict(self, request: ContractRequest, /) -> Prediction:
        """Return the churn probability of one customer and what the model's threshold makes of it."""
        if isinstance(request, Refusal):
            return request.response  # type: ignore[no-any-return]  # BentoML sends it as it is
        start = time.perf_counter()
        probability = await self._scorer.score(request.row())
        decision = _CONTRACT.decide(probability)
        PREDICTIONS.labels(decision, _CONTRACT.model_version).inc()
        LATENCY.labels(_CONTRACT.model_version).observe(time.perf_counter() - start)
        return Prediction(
            customer_id=request.customer_id,
            churn_probability=probability,
            prediction=decision,
            model_version=_CONTRACT.model_version,
        )


ChurnService.add_asgi_middleware(BodyGuard, max_body_bytes=_SETTINGS.max_body_bytes)  # type: ignore[attr-defined]
