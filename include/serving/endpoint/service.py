"""The BentoML service ``churn``; ``docs/serving.md`` describes its routes.

It is imported from inside a Bento, where the model bundle lies beside ``include``.
"""

from __future__ import annotations

import gc
from pathlib import Path

import bentoml

import include.serving.endpoint.import_stubs  # noqa: F401
from include.logs import configure_json_logs, get_logger
from include.serving.endpoint.app import Route, Router
from include.serving.endpoint.authentication import Authentication
from include.serving.endpoint.endpoint import Endpoint
from include.serving.endpoint.guard import RequestGuard, body_rules
from include.serving.endpoint.keys import KeyRing
from include.serving.endpoint.overload import Capacity
from include.settings import get_settings
from include.training.model.bundle import Bundle

log = get_logger(__name__)

_BUNDLE = Bundle.load(Path(__file__).resolve().parents[3] / "bundle")
_SETTINGS = get_settings()
_SERVING = _SETTINGS.serving
# Filled when the server starts: only then BentoML tells which Bento this is.
_ROUTES: dict[str, Route] = {}


@bentoml.service(
    name="churn",
    workers=_SERVING.workers,
    logging={"access": {"enabled": False}},
    # BentoML's own metrics have the path that was asked for as a label: anybody could add series without end.
    metrics={"enabled": False},
    # Nothing collects traces, and making them is the largest cost of a request.
    tracing={"excluded_urls": "."},
)
class ChurnService:
    """Answers with churn probabilities."""

    def __init__(self) -> None:
        configure_json_logs()
        self._endpoint = Endpoint(_BUNDLE, bentoml.server_context.bento_version, _SETTINGS)
        _ROUTES.update(self._endpoint.routes)
        # The model and the libraries live as long as the process: the collector need not look at them again.
        gc.collect()
        gc.freeze()
        # A full collection holds up every request while it looks: with Python's own thresholds the slowest one in a
        # hundred took ten times as long under load. Requests leave few cycles behind, so it may be rare.
        gc.set_threshold(10_000, 20, 100)
        contract = _BUNDLE.contract
        log.info(
            "model loaded", extra={"bento": bentoml.server_context.bento_version, "features": len(contract.features)}
        )

    @bentoml.on_startup  # type: ignore[untyped-decorator]  # BentoML has no types
    async def start(self) -> None:
        """Start what works beside the requests."""
        await self._endpoint.start()

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def close(self) -> None:
        """Finish what works beside the requests."""
        await self._endpoint.close()


if _SERVING.api_keys_file is not None:
    ChurnService.add_asgi_middleware(  # type: ignore[attr-defined]
        Authentication,
        keys=KeyRing(_SERVING.api_keys_file),
        open_routes=_SERVING.open_routes,
        failures_per_minute=_SERVING.key_failures_per_minute,
    )
ChurnService.add_asgi_middleware(  # type: ignore[attr-defined]
    RequestGuard, rules=body_rules(_SERVING), capacity=Capacity(_SERVING.limits)
)
ChurnService.add_asgi_middleware(Router, routes=_ROUTES)  # type: ignore[attr-defined]
