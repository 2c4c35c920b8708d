"""The BentoML service ``churn``; ``docs/serving.md`` describes its routes.

A server imports this module from a Bento, which contains the model bundle beside ``include``.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import ModuleType
from typing import cast

import bentoml

# If scikit-learn is installed, XGBoost imports it for estimator classes that the endpoint does not use. With None in
# sys.modules, that import raises ImportError, which XGBoost handles. This saves 4 s of processor time and 100 MB of
# memory in each server process. The image contains no scikit-learn.
if "sklearn" not in sys.modules:
    sys.modules["sklearn"] = cast(ModuleType, None)

from include.logs import configure_json_logs, get_logger
from include.serving.endpoint.admission import Admission, Capacity, body_rules
from include.serving.endpoint.app import Endpoint, EndpointMiddleware, Routes
from include.serving.endpoint.authentication import Authentication
from include.serving.endpoint.keys import KeyRing
from include.settings import get_settings
from include.training.model.bundle import Bundle

log = get_logger(__name__)

_BUNDLE = Bundle.load(Path(__file__).resolve().parents[3] / "bundle")
_SETTINGS = get_settings()
_SERVING = _SETTINGS.serving
# The routes are added when the server starts, because BentoML's context has no version of the Bento before.
_ROUTES: Routes = {}


@bentoml.service(
    name="churn",
    workers=_SERVING.workers,
    logging={"access": {"enabled": False}},
    # BentoML's own metrics have the requested path as a label: any client could add series without limit.
    metrics={"enabled": False},
    # Nothing collects traces, and tracing is the largest cost of a request.
    tracing={"excluded_urls": "."},
)
class ChurnService:
    """Serves churn predictions."""

    def __init__(self) -> None:
        configure_json_logs()
        self._endpoint = Endpoint(_BUNDLE, bentoml.server_context.bento_version, _SETTINGS)
        _ROUTES.update(self._endpoint.routes)
        # The model and the libraries stay in memory until the process ends, so the garbage collector can skip them.
        gc.collect()
        gc.freeze()
        # A full collection blocks every request: with Python's default thresholds, the 99th percentile of the latency
        # under load was ten times as long. Requests create few reference cycles, so collections can be rare.
        gc.set_threshold(10_000, 20, 100)
        contract = _BUNDLE.contract
        log.info(
            "model loaded", extra={"bento": bentoml.server_context.bento_version, "features": len(contract.features)}
        )

    @bentoml.on_startup  # type: ignore[untyped-decorator]  # BentoML has no types
    async def start(self) -> None:
        """Start the endpoint's background work."""
        await self._endpoint.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def close(self) -> None:
        """Close the endpoint."""
        await self._endpoint.close()


if _SERVING.api_keys_file is not None:
    ChurnService.add_asgi_middleware(  # type: ignore[attr-defined]
        Authentication,
        keys=KeyRing(_SERVING.api_keys_file),
        open_routes=_SERVING.open_routes,
        failures_per_minute=_SERVING.key_failures_per_minute,
    )
ChurnService.add_asgi_middleware(  # type: ignore[attr-defined]
    Admission, rules=body_rules(_SERVING), capacity=Capacity(_SERVING.limits)
)
ChurnService.add_asgi_middleware(EndpointMiddleware, routes=_ROUTES)  # type: ignore[attr-defined]
