"""Connections of clients: at most one response for each request, and limits of arriving requests.

uvicorn limits neither the size and the duration of a request that is arriving, nor the number of connections. Without
limits, clients that send nothing or endless headers could occupy memory and connections indefinitely. After the
headers of a request with ``Upgrade``, uvicorn would read the body as the next request.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httptools
from starlette.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from include.serving.endpoint.admission import ALWAYS_ADMITTED, OverloadedError
from include.serving.endpoint.errors import RequestError
from include.serving.endpoint.metrics import ERRORS
from include.serving.server.connection_limit import ConnectionLimit
from include.serving.server.request_head import MAX_HEAD_BYTES, check_head, headers_too_large, malformed
from include.settings import LimitSettings

# Received bytes are parsed in parts. The limits are checked after each part, so that the TCP segments have no effect.
_PART_BYTES = 2**14
# The largest number of bytes outside of a body: the head with white space and separators, chunk sizes and trailers.
_MAX_OVERHEAD_BYTES = 2 * MAX_HEAD_BYTES
# The largest number of requests of a connection that wait for the responses to earlier requests.
_MAX_PIPELINED = 256
# If a connection were closed while its client is sending, the client would lose the error response.
_LINGER_SECONDS = 2.0
_PROBES = frozenset(path.encode() for path in ALWAYS_ADMITTED)


class BoundedConnection(HttpToolsProtocol):
    """One connection of a client; the server creates an instance for each.

    After a request that is refused, the connection parses no further bytes: it sends the responses to the earlier
    requests, then the error response, and ends.

    Args:
        limits: Contains the time limit of a request that is arriving.
        connection_limit: The limit of the connections of this process.
        arguments: uvicorn's arguments for protocols.
    """

    def __init__(self, limits: LimitSettings, connection_limit: ConnectionLimit, **arguments: Any) -> None:
        super().__init__(**arguments)
        # uvicorn's parser would parse requests after a request that closes the connection.
        self.parser = httptools.HttpRequestParser(self)
        self._receive_seconds = limits.receive_seconds
        self._limit = connection_limit
        self._is_limited = True
        self._timer: asyncio.TimerHandle | None = None
        self._is_arriving = False
        self._has_headers = False
        self._part_bytes = 0
        self._overhead_bytes = 0
        self._has_ended = False
        self._last_response: bytes | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Start the connection. If there are too many connections, close the connection that has been idle longest."""
        super().connection_made(transport)
        if self.server is None or self.server[1] is None:  # a Unix socket: the runner's connections are not limited
            self._is_limited = False
            return
        if self._limit.is_full(len(self.connections) - 1):
            ERRORS.labels("too_many_connections").inc()
            if not self._limit.make_room(transport):
                transport.abort()
                return
        self._limit.begin_waiting(transport)
        # Without this timeout, a response that the client does not read would stay in memory.
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux only
            timeout_ms = int(1000 * self.timeout_keep_alive)
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
        # uvicorn closes a connection that is silent after a request, but not a connection without any request.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timer."""
        self._cancel_timer()
        self._limit.forget(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, and check the limits."""
        if len(data) > _PART_BYTES:
            for start in range(0, len(data), _PART_BYTES):
                self.data_received(data[start : start + _PART_BYTES])
            return
        if self._has_ended:
            return
        try:
            self._feed(data)
        except httptools.HttpParserError as error:
            if self._is_arriving:
                self._end(_refusal(error))
            else:  # bytes after a request that closes the connection
                self._has_ended = True
                self.shutdown()
        else:
            if self._is_arriving:
                self._check_arriving()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio accepts a bool
        """Return whether there are responses to send; a client may close its side after its last request."""
        if self._is_arriving:
            self._end(RequestError(400, "incomplete_request", "The connection ended before the request was complete."))
        elif not self._has_ended:
            self.shutdown()
        cycle = self.cycle
        is_in_progress = cycle is not None and not cycle.response_complete and not cycle.disconnected
        return is_in_progress or self._last_response is not None

    def on_message_begin(self) -> None:
        """Start to count the bytes of the request, including all bytes of the part in which it begins."""
        self._unset_keepalive_if_required()
        self._is_arriving, self._has_headers = True, False
        self._overhead_bytes = self._part_bytes
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Check the head, and start the application."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if self.parser.should_upgrade() and method != b"CONNECT":
            return  # see _feed
        check_head(method, self.url, version, self.headers, self._overhead_bytes)
        is_refused = self._limit.refuses_predictions(self.transport, len(self.connections))
        if is_refused and self.url.partition(b"?")[0] not in _PROBES:
            raise OverloadedError
        if len(self.pipeline) >= _MAX_PIPELINED:
            message = f"More than {_MAX_PIPELINED} requests of this connection wait for their responses."
            raise RequestError(400, "too_many_pipelined", message)
        if version == "1.0":
            self.expect_100_continue = False
        self._unset_keepalive_if_required()
        super().on_headers_complete()
        self._has_headers = True
        # uvicorn would add trailers to the headers of the request, which the application has already read.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        """Subtract twice the number of body bytes from the count; the second half allows for the chunk sizes."""
        self._overhead_bytes -= 2 * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Record that the request is complete."""
        if self.parser.should_upgrade():
            return
        self._is_arriving = False
        self._cancel_timer()
        if not self.cycle.response_complete:
            self._limit.end_waiting(self.transport)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Begin the next request; if there is none, wait for the client or end the connection."""
        is_last = not self.pipeline
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if is_last and self._last_response is not None:
            self._close(self._last_response)
        elif self._is_limited and (is_last or (self._is_arriving and self._has_headers and not self.pipeline)):
            self._limit.begin_waiting(self.transport)

    def timeout_keep_alive_handler(self) -> None:
        """Close a silent connection, and drop the part of a response that the client has not read."""
        self.transport.abort()

    def _feed(self, data: bytes) -> None:
        """Parse bytes, and ignore each ``Upgrade``, which a server may do (RFC 9110, 7.8).

        The parser has no option for this, and stops after the head. A new parser then gets the same head without
        ``Upgrade``.
        """
        while True:
            self._part_bytes = len(data)
            self._overhead_bytes += self._part_bytes
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self.parser = httptools.HttpRequestParser(self)
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        lines = [b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _check_arriving(self) -> None:
        """Check the limits of a request that is not complete."""
        if self._overhead_bytes > _MAX_OVERHEAD_BYTES:
            self._end(headers_too_large())
        elif self._timer is None:
            self._timer = self.loop.call_later(self._receive_seconds, self._on_deadline)
            if self._is_limited and not self._has_unanswered_before():
                self._limit.end_waiting(self.transport)
                self._limit.begin_waiting(self.transport)

    def _on_deadline(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            message = f"The request took longer than {self._receive_seconds:g} s to arrive."
            self._end(RequestError(408, "too_slow", message))

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _has_unanswered_before(self) -> bool:
        """Return whether a request before the arriving request has no response yet."""
        if self._is_arriving and self._has_headers:
            return bool(self.pipeline)
        return self.cycle is not None and not self.cycle.response_complete

    def _end(self, refusal: RequestError) -> None:
        """Refuse the arriving request, and end the connection after the responses to the earlier requests.

        The error response is not sent if the application has begun to respond to the refused request.
        """
        self._cancel_timer()
        self._has_ended = True
        response = _as_bytes(refusal.response)
        is_after_others = self._has_unanswered_before()
        if self._is_arriving and self._has_headers:
            if self.cycle.response_started:
                response = b""
            if self.pipeline:
                self.pipeline.popleft()
            # The application is waiting for the rest of this request.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._is_arriving = False
        if is_after_others:
            self._last_response = response
        else:
            self._close(response)

    def _close(self, response: bytes) -> None:
        self._last_response = None
        self.transport.write(response)
        self.transport.write_eof()
        self._timer = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)
        if self._is_limited:
            self._limit.begin_waiting(self.transport)


def _refusal(error: httptools.HttpParserError) -> RequestError:
    if isinstance(error.__context__, RequestError):
        return error.__context__
    if isinstance(error, httptools.HttpParserCallbackError):
        return malformed("The target of the request is not a path.")
    return malformed(f"This is not a valid request in HTTP/1.1: {error}.")


def _as_bytes(response: JSONResponse) -> bytes:
    headers = b"".join(b"%s: %s\r\n" % header for header in response.raw_headers)
    return STATUS_LINE[response.status_code] + headers + b"connection: close\r\n\r\n" + bytes(response.body)
