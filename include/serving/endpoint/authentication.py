"""Who may ask: API keys, when the endpoint has any."""

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

from include.serving.endpoint.keys import KeyRing
from include.serving.endpoint.requests import refusal

# What tells a machine whether to send requests here says nothing worth a key.
_PROBES = frozenset({"/health", "/healthz", "/livez", "/readyz"})
# Addresses share this many counters, so that no number of addresses takes more memory.
_COUNTERS = 4096

REQUESTS = Counter("ml_api_key_requests_total", "Requests with an accepted key.", ["key"])


class Authentication:
    """ASGI middleware that lets a request pass when it brings an accepted key, in ``X-API-Key`` or as a bearer token.

    Requests over a Unix socket pass without one: who can open it is what the file system says.

    A key that is right passes also where too many wrong ones came from the same address. Nobody finds a key by trying,
    so that shutting it out would protect nothing, and one broken client behind a gateway would shut out all others.

    Args:
        app: The application behind it.
        keys: The accepted keys.
        open_routes: Paths that need no key, besides those of probes.
        failures_per_minute: How many wrong keys an address may send in a minute before the answer is 429.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing, open_routes: Iterable[str], failures_per_minute: int) -> None:
        self._app = app
        self._keys = keys
        self._open = _PROBES | frozenset(open_routes)
        self._failures = _Failures(failures_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401 or 429."""
        if scope["type"] == "lifespan" or is_private(scope) or scope["path"] in self._open:
            await self._app(scope, receive, send)
            return
        candidates = _candidates(scope)
        # Of two keys it would be unclear which one counts.
        name = self._keys.name_of(candidates[0]) if len(candidates) == 1 else None
        if name is None:
            await self._refusal(scope)(scope, receive, send)
            return
        REQUESTS.labels(name).inc()
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse:
        headers = {"WWW-Authenticate": "Bearer"}
        wait = self._failures.record(scope["client"][0] if scope["client"] else "")
        if wait is None:
            message = "Send one valid API key, as X-API-Key or as Authorization: Bearer."
            return refusal(401, "unauthorized", message, headers=headers)
        message = f"Too many requests without a valid API key. Wait {wait} s."
        return refusal(429, "too_many_failures", message, headers=headers | {"Retry-After": str(wait)})


class _Failures:
    """Failures of the last minute by client address, in bounded memory."""

    def __init__(self, per_minute: int) -> None:
        self._limit = RateLimitItemPerMinute(per_minute)
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def record(self, address: str) -> int | None:
        """Count a failure; return None within the limit, else the seconds to wait."""
        counter = str(hash(_network(address)) % _COUNTERS)
        # A hit lets the library start a thread that tidies up; a test does not.
        if self._window.test(self._limit, counter) and self._window.hit(self._limit, counter):
            return None
        return max(1, math.ceil(self._window.get_window_stats(self._limit, counter).reset_time - time.time()))


def _network(address: str) -> str:
    """Return an IPv4 address as it is, and of an IPv6 address its /64, which one client has as a whole."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


def is_private(scope: Scope) -> bool:
    """Return whether a request came by the Unix socket, on which only the runner asks."""
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
