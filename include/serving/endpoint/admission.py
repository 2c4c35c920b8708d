"""Admission: decide whether a server process accepts a request, before the process parses the body.

Requests beyond the process's capacity get 503, bodies of another content type 415, and bodies that are too large 413.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.serving.endpoint.errors import RequestError, error_content
from include.serving.endpoint.metrics import ERRORS
from include.settings import LimitSettings, ServingSettings

_JSON = b"application/json"
_ARROW = b"application/vnd.apache.arrow.stream"
ALWAYS_ADMITTED = frozenset({"/health", "/livez", "/readyz", "/metrics"})
"""The routes of monitoring, to which an overloaded endpoint must also respond."""

# A body of this size takes about as much time as one single request, because most of the time is parsing.
_BYTES_PER_UNIT = 2**16
_OVERLOADED = "overloaded"
# Prepared once, because most responses of an overloaded endpoint are this response.
_OVERLOADED_RESPONSE = JSONResponse(
    error_content(_OVERLOADED, "The endpoint has more requests than it can process. Try again in a moment."),
    503,
    {"Retry-After": "1"},
)
_SAMPLE_SECONDS = 0.05
_SAMPLES = 4


@dataclass(frozen=True)
class BodyRule:
    """The limits of the bodies of one path.

    Attributes:
        media_types: The accepted content types.
        max_bytes: The largest size.
    """

    media_types: tuple[bytes, ...]
    max_bytes: int


def body_rules(settings: ServingSettings) -> dict[str, BodyRule]:
    """Return the rule of each path that accepts requests with a body."""
    return {
        "/predict": BodyRule((_JSON,), settings.max_body_bytes),
        "/predict_batch": BodyRule((_JSON, _ARROW), settings.max_batch_body_bytes),
    }


class Admission:
    """ASGI middleware that receives the bodies of requests, and passes on requests while there is capacity.

    Args:
        app: The next application.
        rules: The limits of bodies by path; the bodies of other requests are not received.
        capacity: The capacity of this process.
        response_seconds: The time limit of a response. A response is sent in one piece at the end, so the limit never
            cuts off a part of a response.
    """

    def __init__(
        self, app: ASGIApp, rules: Mapping[str, BodyRule], capacity: Capacity, response_seconds: float = 60.0
    ) -> None:
        self._app = app
        self._rules = rules
        self._capacity = capacity
        self._response_seconds = response_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or respond with 413, 415 or 503."""
        if scope["type"] != "http" or scope["path"] in ALWAYS_ADMITTED:
            await self._app(scope, receive, send)
            return
        rule = self._rules.get(scope["path"]) if scope["method"] == "POST" else None
        try:
            with self._capacity.reserve() as reservation:
                if rule is not None:
                    receive = _replay(await _receive_body(receive, rule, reservation), receive)
                    _require_content_type(scope, rule)
                reservation.begin()
                async with asyncio.timeout(self._response_seconds):
                    await self._app(scope, receive, send)
        except (TimeoutError, asyncio.CancelledError):
            # A server that stops cancels the requests that have not ended in time.
            await OverloadedError().response(scope, receive, send)
        except RequestError as error:
            await error.response(scope, receive, send)
        except ClientDisconnect:
            return


async def _receive_body(receive: Receive, rule: BodyRule, reservation: Reservation) -> bytes:
    """Return the body of a request.

    A body that is too large is received to its end and dropped: a client that is still sending would not read the
    response.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= rule.max_bytes:
            reservation.hold(len(chunk))
            chunks.append(chunk)
        if not message.get("more_body", False):
            if size > rule.max_bytes:
                raise RequestError(413, "too_large", f"The body is larger than {rule.max_bytes} bytes.")
            return b"".join(chunks)


def _require_content_type(scope: Scope, rule: BodyRule) -> None:
    types = [value for name, value in scope["headers"] if name == b"content-type"]
    encoded = any(name == b"content-encoding" for name, _ in scope["headers"])
    # If there are two content types, a proxy and the endpoint may read different headers.
    if len(types) != 1 or encoded or types[0].split(b";")[0].strip().lower() not in rule.media_types:
        accepted = b" or ".join(rule.media_types).decode()
        raise RequestError(415, "unsupported_media_type", f"Send the body as {accepted}, and not compressed.")


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed


class OverloadedError(RequestError):
    """There is no capacity for a request."""

    def __init__(self) -> None:
        Exception.__init__(self, _OVERLOADED)
        ERRORS.labels(_OVERLOADED).inc()
        self.response = _OVERLOADED_RESPONSE


class Capacity:
    """The requests that this process can still accept.

    Args:
        limits: The capacity.

    Attributes:
        in_flight_left: Units left for requests in progress. A request takes one unit, and one more for each 64 KiB of
            its body.
        body_bytes_left: Memory left for bodies, in bytes.
    """

    def __init__(self, limits: LimitSettings) -> None:
        self.in_flight_left = limits.in_flight
        self.body_bytes_left = limits.body_bytes
        self._limits = limits
        self._lag = EventLoopLag()

    def reserve(self) -> Reservation:
        """Return an empty reservation for one request.

        Raises:
            OverloadedError: There is no capacity for the smallest request.
        """
        if self.in_flight_left <= 0 or self._lag.seconds() > self._limits.event_loop_lag_seconds:
            raise OverloadedError
        return Reservation(self)

    def fits(self, units: int) -> bool:
        """Return whether a request of ``units`` can begin; if it exceeds the whole capacity, it can begin alone."""
        return units <= self.in_flight_left or self.in_flight_left == self._limits.in_flight


class Reservation:
    """The capacity that one request takes; a context manager that returns the capacity at its end.

    While the body of a request is arriving, the request takes memory, but no units.

    Args:
        capacity: The capacity of the process.
    """

    __slots__ = ("_body_bytes", "_capacity", "_units")

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._body_bytes = 0
        self._units = 0

    def __enter__(self) -> Reservation:
        """Return the reservation."""
        return self

    def __exit__(self, *_: object) -> None:
        """Return everything to the capacity."""
        self._capacity.body_bytes_left += self._body_bytes
        self._capacity.in_flight_left += self._units

    def hold(self, body_bytes: int) -> None:
        """Take memory for a part of the body.

        Raises:
            OverloadedError: There is too little memory left.
        """
        if body_bytes > self._capacity.body_bytes_left:
            raise OverloadedError
        self._capacity.body_bytes_left -= body_bytes
        self._body_bytes += body_bytes

    def begin(self) -> None:
        """Take the units of the request.

        Raises:
            OverloadedError: There are too few units left.
        """
        units = 1 + self._body_bytes // _BYTES_PER_UNIT
        if not self._capacity.fits(units):
            raise OverloadedError
        self._capacity.in_flight_left -= units
        self._units = units


class EventLoopLag:
    """The delay between the due time of a callback and its call by the running event loop, as a measure of overload.

    The lag is the lowest of the last four samples. One long turn of the loop is therefore not an overload, and an
    overload ends with the first sample without delay.
    """

    def __init__(self) -> None:
        self._lags = deque([0.0] * _SAMPLES, maxlen=_SAMPLES)
        self._started = False

    def seconds(self) -> float:
        """Return the lag; the first call starts the sampling."""
        if not self._started:
            self._started = True
            self._schedule_sample()
        return min(self._lags)

    def _schedule_sample(self) -> None:
        due = time.monotonic() + _SAMPLE_SECONDS
        asyncio.get_running_loop().call_later(_SAMPLE_SECONDS, self._sample, due)

    def _sample(self, due: float) -> None:
        self._lags.append(time.monotonic() - due)
        self._schedule_sample()
