"""The endpoint of one model: its routes and error handlers."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from include.logs import get_logger
from include.serving.endpoint.batch_arrow import ArrowBatchReader
from include.serving.endpoint.batches import BatchPredictor, JsonBatchReader
from include.serving.endpoint.errors import RequestError, error_response
from include.serving.endpoint.metrics import exposition
from include.serving.endpoint.openapi import openapi_document
from include.serving.endpoint.predict import Explainer, Predictor, StoredFeatures
from include.serving.endpoint.requests import PredictRequestReader
from include.serving.endpoint.responses import Health, ModelDescription
from include.serving.endpoint.scorer import BatchScorer, Scorer
from include.serving.online_store import open_store
from include.serving.prediction_log.log import open_prediction_log
from include.settings import Settings, require_project
from include.training.model.bundle import Bundle

log = get_logger(__name__)

Handler = Callable[[Request], Awaitable[Response]]
Routes = dict[str, tuple[str, Handler]]
"""The method and the handler of each path."""


class Endpoint:
    """The handlers of one model, and the resources behind them.

    Args:
        bundle: The model.
        bento: The version of the Bento that contains it.
        settings: The deployment's settings. If they set no project, as in a pod, the model's project is used.

    Raises:
        ProjectMismatchError: The settings set another project than the model's.

    Attributes:
        routes: The routes.
    """

    def __init__(self, bundle: Bundle, bento: str, settings: Settings) -> None:
        contract, serving = bundle.contract, settings.serving
        if "project" in settings.model_fields_set:
            require_project(contract.project, settings.project, what="The model", where=f"Bento {bento}")
        settings = settings.model_copy(update={"project": contract.project})
        # The version of a Bento is <model version>-<checksum of its files>; see build_bento.
        model_version = bento.rpartition("-")[0]
        self._contract = contract
        self._model_version = model_version
        self._bento = bento
        self._log = open_prediction_log(contract, model_version, bento, settings)
        self._stored = StoredFeatures(contract, open_store(settings), serving.stale_after_days)
        refuse = serving.out_of_range == "refuse"
        reader = PredictRequestReader(contract, refuse)
        batch_reader = JsonBatchReader(contract, refuse, serving.max_batch_rows)
        batches = BatchPredictor(
            contract,
            model_version,
            batch_reader,
            ArrowBatchReader(contract, refuse, serving.max_batch_rows),
            BatchScorer(bundle, self._log),
        )
        explainer = Explainer(bundle, serving.reasons_per_direction)
        predictor = Predictor(contract, model_version, reader, self._stored, Scorer(bundle, self._log), explainer)
        self._openapi = openapi_document(contract, model_version, bundle.samples, reader.model, batch_reader.model)
        self.routes: Routes = {
            "/predict": ("POST", predictor.handle),
            "/predict_batch": ("POST", batches.handle),
            "/health": ("GET", self._get_health),
            "/livez": ("GET", _get_probe),
            "/readyz": ("GET", _get_probe),
            "/model": ("GET", self._get_model),
            "/metrics": ("GET", _get_metrics),
            "/openapi.json": ("GET", self._get_openapi),
        }

    async def start(self) -> None:
        """Start the background work."""
        await self._log.start()

    async def close(self) -> None:
        """Write the rest of the prediction log, and close the online store."""
        await self._log.close()
        await self._stored.close()

    async def _get_health(self, _: Request) -> Response:
        version = self._model_version
        return _json(Health(status="healthy", model_loaded=True, model_version=version, bento=self._bento))

    async def _get_model(self, _: Request) -> Response:
        contract = self._contract.model_dump(exclude={"format"})
        return _json(ModelDescription(model_version=self._model_version, bento=self._bento, **contract))

    async def _get_openapi(self, _: Request) -> Response:
        return JSONResponse(self._openapi)


async def _get_probe(_: Request) -> Response:
    """Respond with status 200 and no body; the server accepts no connections before a model is loaded."""
    return Response()


async def _get_metrics(_: Request) -> Response:
    return Response(await run_in_threadpool(exposition), media_type=CONTENT_TYPE_LATEST)


def _json(body: Health | ModelDescription) -> Response:
    return Response(body.model_dump_json(), media_type="application/json")


class EndpointMiddleware:
    """ASGI middleware that handles every request; BentoML's application starts and stops the service.

    The middleware runs before BentoML's own application, and looks routes up in a dictionary. Both save processor time
    (docs/decisions/0010).

    Args:
        app: BentoML's application.
        routes: The endpoint's routes.
    """

    def __init__(self, app: ASGIApp, routes: Routes) -> None:
        self._bentoml = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._bentoml(scope, receive, send)
            return
        try:
            response = await self._handle(Request(scope, receive))
        except RequestError as error:
            response = error.response
        except Exception as error:  # noqa: BLE001  # the error's message may contain values: only its place is logged
            place = traceback.extract_tb(error.__traceback__)[-1]
            extra = {"error": type(error).__name__, "place": f"{place.filename}:{place.lineno}"}
            log.error("request failed", extra=extra)
            response = error_response(500, "internal", "The request could not be processed.")
        await response(scope, receive, send)

    async def _handle(self, request: Request) -> Response:
        route = self._routes.get(request.scope["path"])
        if route is None:
            return error_response(404, "unknown_path", "There is nothing at this path.")
        method, handler = route
        if request.method != method and (request.method, method) != ("HEAD", "GET"):
            return error_response(405, "method_not_allowed", f"This path allows {method}.", headers={"Allow": method})
        return await handler(request)
