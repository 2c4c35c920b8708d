"""The endpoint's routes, and what a request meets that none of them answers."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from include.logs import get_logger
from include.serving.endpoint.requests import RefusalError, refusal

log = get_logger(__name__)

Handler = Callable[[Request], Awaitable[Response]]
Route = tuple[str, Handler]
"""A method, and what answers it."""
Routes = Mapping[str, Route]
"""The route of each path."""

PROBES = frozenset({"/livez", "/readyz"})
"""What BentoML itself answers. Its pages about the API would be wrong: it knows nothing of these routes."""


class Router:
    """ASGI middleware that answers every request but BentoML's probes.

    It stands before BentoML's own application, whose routing and bookkeeping cost more than a prediction.

    Args:
        app: BentoML's application.
        routes: What is answered.
    """

    def __init__(self, app: ASGIApp, routes: Routes) -> None:
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        try:
            response = await self._answer(Request(scope, receive))
        except RefusalError as refused:
            response = refused.response
        except ClientDisconnect:
            return
        except Exception as error:  # noqa: BLE001  # the error's text may hold what was sent: only its place is logged
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.error(
                "request failed", extra={"error": type(error).__name__, "place": f"{place.filename}:{place.lineno}"}
            )
            response = refusal(500, "internal", "The request could not be answered.")
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        route = self._routes.get(request.scope["path"])
        if route is None:
            return refusal(404, "unknown_path", "There is nothing at this path.")
        method, handler = route
        if request.method != method and (request.method, method) != ("HEAD", "GET"):
            return refusal(405, "method_not_allowed", f"This path answers {method}.", headers={"Allow": method})
        return await handler(request)
