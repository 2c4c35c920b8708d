"""How much a server process takes on, so that what it takes on is answered soon."""

from __future__ import annotations

import asyncio
import time
from collections import deque

from starlette.responses import JSONResponse

from include.serving.endpoint.metrics import ERRORS
from include.serving.endpoint.requests import RefusalError, refusal_content
from include.settings import LimitSettings

# A body of this size costs about as much as one customer's request: both are mostly parsing.
_BYTES_PER_UNIT = 2**16
_KIND = "overloaded"
# Made once: under overload it is most of what is sent.
_RESPONSE = JSONResponse(
    refusal_content(_KIND, "There are more requests than can be answered. Try again in a moment."),
    503,
    {"Retry-After": "1"},
)
_LOOK_SECONDS = 0.05
_LOOKS = 4


class OverloadedError(RefusalError):
    """There is no room for a request now."""

    def __init__(self) -> None:
        Exception.__init__(self, _KIND)
        ERRORS.labels(_KIND).inc()
        self.response = _RESPONSE


class Capacity:
    """What this process may have in work, and has.

    Args:
        limits: How much that is.

    Attributes:
        in_flight_left: Room for answering. A request weighs one, and one more for each 64 KiB of its body.
        body_bytes_left: Room for bodies in memory, in bytes.
    """

    def __init__(self, limits: LimitSettings) -> None:
        self.in_flight_left = limits.in_flight
        self.body_bytes_left = limits.body_bytes
        self._limits = limits
        self._lag = EventLoopLag()

    def reserve(self) -> Reservation:
        """Return the reservation of one request, which takes nothing yet.

        Raises:
            OverloadedError: There is no room for even the smallest.
        """
        if self.in_flight_left <= 0 or self._lag.seconds() > self._limits.event_loop_lag_seconds:
            raise OverloadedError
        return Reservation(self)

    def has_room(self, weight: int) -> bool:
        """Return whether a request of this weight can be answered now; one that outweighs everything can be alone."""
        return weight <= self.in_flight_left or self.in_flight_left == self._limits.in_flight


class Reservation:
    """What one request has of a capacity; a context that gives it back.

    A client that sends its body slowly has memory, but none of the room for answering.

    Args:
        capacity: What it is taken from.
    """

    __slots__ = ("_body_bytes", "_capacity", "_weight")

    def __init__(self, capacity: Capacity) -> None:
        self._capacity = capacity
        self._body_bytes = 0
        self._weight = 0

    def __enter__(self) -> Reservation:
        """Begin the context."""
        return self

    def __exit__(self, *_: object) -> None:
        """Give everything back."""
        self._capacity.body_bytes_left += self._body_bytes
        self._capacity.in_flight_left += self._weight

    def hold(self, body_bytes: int) -> None:
        """Take memory for a part of the body.

        Raises:
            OverloadedError: There is too little.
        """
        if body_bytes > self._capacity.body_bytes_left:
            raise OverloadedError
        self._capacity.body_bytes_left -= body_bytes
        self._body_bytes += body_bytes

    def begin(self) -> None:
        """Take room for answering.

        Raises:
            OverloadedError: There is too little.
        """
        weight = 1 + self._body_bytes // _BYTES_PER_UNIT
        if not self._capacity.has_room(weight):
            raise OverloadedError
        self._capacity.in_flight_left -= weight
        self._weight = weight


class EventLoopLag:
    """How late the running event loop does what it was asked to do at a time: the truest sign of too much work.

    One long turn is no overload: the smallest lag of the last looks counts, so that only a queue that stays is seen,
    and is seen to be gone at the first look without one.
    """

    def __init__(self) -> None:
        self._lags = deque([0.0] * _LOOKS, maxlen=_LOOKS)
        self._looks = False

    def seconds(self) -> float:
        """Return the lag; the first call begins to look."""
        if not self._looks:
            self._looks = True
            self._look_later()
        return min(self._lags)

    def _look_later(self) -> None:
        due = time.monotonic() + _LOOK_SECONDS
        asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look, due)

    def _look(self, due: float) -> None:
        self._lags.append(time.monotonic() - due)
        self._look_later()
