"""What a connection may do before its request is complete: bounded headers, in bounded time, in bounded number.

uvicorn bounds none of these. Without a bound, clients that send nothing, or a header without end, hold memory and
connections for as long as they like.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from starlette.responses import JSONResponse
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from include.serving.endpoint.metrics import ERRORS
from include.serving.endpoint.requests import refusal
from include.settings import LimitSettings

_MAX_HEADER_BYTES = 2**16


class BoundedConnection(HttpToolsProtocol):
    """One connection of a client; the server makes one for each.

    Args:
        limits: How many connections there may be, and how long a request may take to arrive.
        arguments: What uvicorn gives its protocols.
    """

    def __init__(self, limits: LimitSettings, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._limits = limits
        self._deadline: asyncio.TimerHandle | None = None
        self._arrives = False
        self._has_headers = False
        self._header_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Begin; or end at once where there are too many connections already."""
        super().connection_made(transport)
        if self.server is None or self.server[1] is None:  # a Unix socket: the runner must always get through
            return
        if len(self.connections) > self._limits.connections:
            ERRORS.labels("too_many_connections").inc()
            transport.abort()
            return
        # A client that does not read its answer would hold it in memory for ever.
        patience = int(1000 * self.timeout_keep_alive)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, patience)
        # uvicorn lets a connection be silent for that long after a request, but for ever before the first.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._end_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what arrived; begin to wait for the rest of a request that did not arrive whole."""
        # Whatever belongs to no body counts as headers: chunk sizes and trailers can be without end as well.
        self._header_bytes += len(data)
        super().data_received(data)
        if not self._arrives or self.transport.is_closing():
            return
        if self._header_bytes > _MAX_HEADER_BYTES:
            self._refuse(431, "headers_too_large", f"The headers are larger than {_MAX_HEADER_BYTES} bytes.")
        elif self._deadline is None:
            self._deadline = self.loop.call_later(self._limits.receive_seconds, self._on_deadline)

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._arrives, self._has_headers = True, False
        self._header_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Note that the body follows."""
        super().on_headers_complete()
        self._has_headers = True

    def on_body(self, body: bytes) -> None:
        """Take the body's bytes out of the count; twice, for the sizes of its chunks."""
        self._header_bytes -= 2 * len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request arrived."""
        self._arrives = False
        self._end_deadline()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP in the form of every other refusal."""
        self._refuse(400, "malformed_http", msg)

    def timeout_keep_alive_handler(self) -> None:
        """End a silent connection, with what it has not read after all this time."""
        self.transport.abort()

    def _on_deadline(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self._refuse(408, "too_slow", f"The request took longer than {self._limits.receive_seconds:g} s to arrive.")

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, status: int, kind: str, message: str) -> None:
        """End the connection, with an answer where none is on its way."""
        self._end_deadline()
        answer = refusal(status, kind, message, headers={"Connection": "close"})
        if self._arrives and self._has_headers:
            can_answer = not self.cycle.response_started and not self.pipeline
            # The application waits for the rest of this request: it is told that the client has left.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        else:
            can_answer = self.cycle is None or self.cycle.response_complete
        if can_answer:
            self.transport.write(_as_bytes(answer))
            self.transport.close()
        else:
            self.transport.abort()


def _as_bytes(answer: JSONResponse) -> bytes:
    headers = b"".join(name + b": " + value + b"\r\n" for name, value in answer.raw_headers)
    return STATUS_LINE[answer.status_code] + headers + b"\r\n" + bytes(answer.body)
