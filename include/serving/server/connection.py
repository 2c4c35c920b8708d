"""Limits of client connections: their number, and the size and duration of a request that is arriving.

uvicorn limits none of these. Without limits, clients that send nothing, or endless headers, could occupy memory and
connections indefinitely.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from typing import Any

from starlette.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from include.logs import get_logger
from include.serving.endpoint.errors import error_response
from include.serving.endpoint.metrics import ERRORS
from include.settings import LimitSettings

log = get_logger(__name__)

_MAX_HEADER_BYTES = 2**16
# The online store, the prediction log, sockets and libraries have about 40 open files before the first connection.
_OTHER_FILES = 128


def raise_open_files_limit(connections: int) -> None:
    """Raise the soft limit of open files to the hard limit, and log a warning when that is too low.

    Each connection is an open file. Without a free file the kernel would reject a client, and the prediction log would
    lose rows.

    Args:
        connections: The number of connections that the process accepts.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + _OTHER_FILES
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except ValueError:  # macOS rejects an infinite soft limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    if hard != resource.RLIM_INFINITY and hard < needed:
        log.warning(
            "fewer open files allowed than connections need",
            extra={"open_files": hard, "connections": connections, "needed": needed},
        )


class BoundedConnection(HttpToolsProtocol):
    """One connection of a client; the server creates an instance for each.

    Args:
        limits: The number of connections, and the time limit of a request that is arriving.
        arguments: uvicorn's arguments for protocols.
    """

    def __init__(self, limits: LimitSettings, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None
        self._is_arriving = False
        self._has_headers = False
        self._header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Start the connection, or close it if there are too many connections."""
        super().connection_made(transport)
        if self.server is None or self.server[1] is None:  # a Unix socket: the runner's connections are not limited
            return
        if len(self.connections) > self._limits.connections:
            ERRORS.labels("too_many_connections").inc()
            transport.abort()
            return
        # Without this timeout, a response that the client does not read would stay in memory.
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux only
            timeout_ms = int(1000 * self.timeout_keep_alive)
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
        # uvicorn closes a connection that is silent after a request, but not a connection without any request.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        self._cancel_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; set a deadline when the request is not complete."""
        # Everything outside of bodies counts as headers: chunk sizes and trailers can be endless as well.
        self._header_bytes += len(data)
        super().data_received(data)
        if not self._is_arriving or self.transport.is_closing():
            return
        if self._header_bytes > _MAX_HEADER_BYTES:
            self._end(431, "headers_too_large", f"The headers are larger than {_MAX_HEADER_BYTES} bytes.")
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self._limits.receive_seconds, self._on_deadline)

    def on_message_begin(self) -> None:
        """Start the count of header bytes."""
        self._is_arriving, self._has_headers = True, False
        self._header_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Record that the headers are complete."""
        super().on_headers_complete()
        self._has_headers = True

    def on_body(self, body: bytes) -> None:
        """Subtract the bytes of the body from the count of header bytes, twice, to allow for chunk sizes."""
        self._header_bytes -= 2 * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Record that the request is complete."""
        self._is_arriving = False
        self._cancel_deadline()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Respond to malformed HTTP with an error response."""
        self._end(400, "malformed_http", msg)

    def timeout_keep_alive_handler(self) -> None:
        """Close a silent connection, and drop the part of a response that the client has not read."""
        self.transport.abort()

    def _on_deadline(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self._end(408, "too_slow", f"The request took longer than {self._limits.receive_seconds:g} s to arrive.")

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self, status: int, kind: str, message: str) -> None:
        """Close the connection, with an error response unless another response is being sent."""
        self._cancel_deadline()
        response = error_response(status, kind, message, headers={"Connection": "close"})
        if self._is_arriving and self._has_headers:
            can_respond = not self.cycle.response_started and not self.pipeline
            # The application is waiting for the rest of this request.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        else:
            can_respond = self.cycle is None or self.cycle.response_complete
        if can_respond:
            self.transport.write(_as_bytes(response))
            self.transport.close()
        else:
            self.transport.abort()


def _as_bytes(response: JSONResponse) -> bytes:
    headers = b"".join(name + b": " + value + b"\r\n" for name, value in response.raw_headers)
    return STATUS_LINE[response.status_code] + headers + b"\r\n" + bytes(response.body)
