"""Authentication by API keys, if a key file is configured."""

from __future__ import annotations

import ipaddress
import math
import time
from collections.abc import Iterable

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from prometheus_client import Counter
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from include.serving.endpoint.errors import error_response
from include.serving.endpoint.keys import KeyRing

# Probes need no key: their responses contain nothing secret.
_PROBES = frozenset({"/health", "/livez", "/readyz"})
# All addresses share this many counters, so the memory does not grow with the number of addresses.
_COUNTERS = 4096

REQUESTS = Counter("ml_api_key_requests_total", "Requests with an accepted key.", ["key"])


class Authentication:
    """ASGI middleware that passes on requests with an accepted key, in ``X-API-Key`` or as a bearer token.

    Requests over a Unix socket need no key: the file system controls access to it.

    A valid key is accepted even from an address with too many failures. Blocking the address would not protect a key of
    256 bits, which cannot be guessed, and one broken client behind a gateway would block all other clients.

    Args:
        app: The next application.
        keys: The accepted keys.
        open_routes: Paths that need no key, besides the probes.
        failures_per_minute: The number of failures per address and minute after which the response is 429.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing, open_routes: Iterable[str], failures_per_minute: int) -> None:
        self._app = app
        self._keys = keys
        self._open = _PROBES | frozenset(open_routes)
        self._failures = _Failures(failures_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or respond with 401 or 429."""
        if scope["type"] == "lifespan" or is_private(scope) or scope["path"] in self._open:
            await self._app(scope, receive, send)
            return
        candidates = _candidates(scope)
        # Two keys are ambiguous.
        name = self._keys.name_of(candidates[0]) if len(candidates) == 1 else None
        if name is None:
            await self._error_response(scope)(scope, receive, send)
            return
        REQUESTS.labels(name).inc()
        await self._app(scope, receive, send)

    def _error_response(self, scope: Scope) -> JSONResponse:
        headers = {"WWW-Authenticate": "Bearer"}
        wait = self._failures.record(scope["client"][0] if scope["client"] else "")
        if wait is None:
            message = "Send one valid API key, as X-API-Key or as Authorization: Bearer."
            return error_response(401, "unauthorized", message, headers=headers)
        message = f"Too many requests without a valid API key. Wait {wait} s."
        return error_response(429, "too_many_failures", message, headers=headers | {"Retry-After": str(wait)})


class _Failures:
    """The failures of the last minute by client address, in bounded memory.

    Args:
        per_minute: The limit.
    """

    def __init__(self, per_minute: int) -> None:
        self._limit = RateLimitItemPerMinute(per_minute)
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def record(self, address: str) -> int | None:
        """Count a failure; return None within the limit, else the seconds to wait."""
        counter = str(hash(_network(address)) % _COUNTERS)
        # hit() can start a cleaning thread of the library; test() does not.
        if self._window.test(self._limit, counter) and self._window.hit(self._limit, counter):
            return None
        return max(1, math.ceil(self._window.get_window_stats(self._limit, counter).reset_time - time.time()))


def _network(address: str) -> str:
    """Return an IPv4 address unchanged; for an IPv6 address its /64, which usually belongs to one client."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


def is_private(scope: Scope) -> bool:
    """Return whether a request came over the Unix socket, which only the runner uses."""
    server = scope.get("server")
    return server is not None and server[1] is None


def _candidates(scope: Scope) -> list[bytes]:
    found = []
    for name, value in scope["headers"]:
        if name == b"x-api-key":
            found.append(value.strip())
        elif name == b"authorization":
            scheme, _, token = value.partition(b" ")
            found.append(token.strip() if scheme.lower() == b"bearer" else b"")
    return found
