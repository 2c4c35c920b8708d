"""What the endpoint says about itself: health, model, metrics, OpenAPI."""

from __future__ import annotations

from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from include.serving.endpoint.answers import Health, ModelDescription
from include.serving.endpoint.metrics import exposition
from include.training.model.contract import ModelContract


class Description:
    """Answers the ``GET`` routes.

    Args:
        contract: The model's contract.
        model_version: The registry's version of the model.
        bento: The version of the Bento that serves it.
        openapi: The OpenAPI document.
    """

    def __init__(self, contract: ModelContract, model_version: str, bento: str, openapi: dict[str, Any]) -> None:
        self._contract = contract
        self._model_version = model_version
        self._bento = bento
        self._openapi = openapi

    async def health(self, _: Request) -> Response:
        """Say that the model is loaded, and which one it is."""
        version = self._model_version
        return _json(Health(status="healthy", model_loaded=True, model_version=version, bento=self._bento))

    async def model(self, _: Request) -> Response:
        """Say where the model comes from, and what it expects."""
        contract = self._contract.model_dump(exclude={"format"})
        return _json(ModelDescription(model_version=self._model_version, bento=self._bento, **contract))

    async def metrics(self, _: Request) -> Response:
        """Return all metrics."""
        return Response(await run_in_threadpool(exposition), media_type=CONTENT_TYPE_LATEST)

    async def openapi(self, _: Request) -> Response:
        """Return the OpenAPI document."""
        return JSONResponse(self._openapi)


def _json(answer: Health | ModelDescription) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")
