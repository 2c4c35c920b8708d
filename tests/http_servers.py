"""Stubs of HTTP servers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StubHandler(BaseHTTPRequestHandler):
    """Handles requests of all methods with ``respond``, without a log."""

    def respond(self) -> None:
        """Answer the request."""
        raise NotImplementedError

    def do_GET(self) -> None:
        """Answer the request."""
        self.respond()

    do_PATCH = do_POST = do_GET  # noqa: N815 - the names of http.server

    def body(self) -> bytes:
        """Return the content of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, content: bytes, status: int = 200) -> None:
        """Send the response."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@contextmanager
def stub(handler: type[StubHandler]) -> Iterator[int]:
    """Answer requests on a free port of 127.0.0.1 while the block runs, and yield the port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
