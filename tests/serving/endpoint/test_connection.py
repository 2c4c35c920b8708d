"""Connections of slow, silent and endless clients: real sockets, and a server with a trivial application."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from include.serving.server.connection import BoundedConnection
from include.serving.server.connection_limit import PROBE_CONNECTIONS, ConnectionLimit
from include.settings import LimitSettings
from local.supervision import wait_until

pytestmark = pytest.mark.slow  # waits for time limits

RECEIVE_SECONDS = 1.0
# Longer than any test: a limit that a test does not check must not end a connection on a busy machine.
NEVER = 600
POST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


class App:
    """Responds with the size of the body; to /early before it has read the body; to /later after an event."""

    def __init__(self) -> None:
        self.disconnected = 0
        self.waiting = threading.Event()
        self.released = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = b"" if scope["path"] == "/early" else await Request(scope, receive).body()
            if scope["path"] == "/later":
                self.waiting.set()
                await asyncio.to_thread(self.released.wait)
            await Response(str(len(body)))(scope, receive, send)
        except ClientDisconnect:
            self.disconnected += 1


class Server:
    """A server on a port and on a Unix socket, in a thread."""

    def __init__(self, private: Path, connections: int, receive_seconds: float, keep_alive_seconds: int) -> None:
        self.app = App()
        limits = LimitSettings(receive_seconds=receive_seconds)
        limit = ConnectionLimit(connections)
        config = uvicorn.Config(
            self.app,
            http=partial(BoundedConnection, limits=limits, connection_limit=limit),  # type: ignore[arg-type]  # uvicorn only calls it
            ws="none",
            loop="uvloop",
            log_config=None,
            lifespan="off",
            timeout_keep_alive=keep_alive_seconds,
        )
        listener = socket.create_server(("127.0.0.1", 0))
        private_listener = socket.socket(socket.AF_UNIX)
        private_listener.bind(str(private))
        self.address, self.private = listener.getsockname(), str(private)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener, private_listener],))
        self._thread.start()

    def stop(self) -> None:
        self.app.released.set()  # the server waits for the responses in progress
        self._server.should_exit = True
        self._thread.join()

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.address)
        client.settimeout(60)
        return client

    def connect_privately(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(60)
        client.connect(self.private)
        return client


@contextmanager
def running(
    folder: Path, connections: int = 1000, receive_seconds: float = RECEIVE_SECONDS, keep_alive_seconds: int = NEVER
) -> Iterator[Server]:
    server = Server(folder / "private.sock", connections, receive_seconds, keep_alive_seconds)
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("server")) as server:
        yield server


def all_of(client: socket.socket) -> bytes:
    """Return all bytes up to the end of the connection."""
    received = b""
    try:
        while chunk := client.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def response_of(client: socket.socket) -> tuple[int, Any]:
    """Return the status and the JSON of the last response on a connection that ends."""
    head, _, body = all_of(client).rpartition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


def next_response(client: socket.socket) -> tuple[int, bytes]:
    """Return the status and the body of the response that the client waits for."""
    response = HTTPResponse(client)
    response.begin()
    return response.status, response.read()


def gets_response(client: socket.socket) -> bool:
    client.sendall(GET)
    return next_response(client) == (200, b"0")


def test_pipelined_requests_get_responses_in_order(server: Server) -> None:
    with server.connect() as client:
        for _ in range(3):
            client.sendall(POST + b"0123456789")
            assert next_response(client) == (200, b"10")
        client.sendall(GET + POST + b"0123456789" + GET)
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 3:
            received += client.recv(65536)


@pytest.mark.parametrize("sent", [b"POST /pre", POST[:-2], POST, POST + b"01234"])
def test_incomplete_request_gets_408(server: Server, sent: bytes) -> None:
    with server.connect() as client:
        client.sendall(sent)
        status, body = response_of(client)
    assert (status, body["error"]["kind"]) == (408, "too_slow")


def test_slowly_arriving_request_gets_408(tmp_path: Path) -> None:
    # A server of its own: the application may get the disconnects of an earlier test late.
    with running(tmp_path) as server, server.connect() as client:
        client.sendall(POST.replace(b"10\r\n", b"1000\r\n"))
        client.settimeout(0.05)
        received = b""
        while not received:
            client.send(b"x")
            try:
                received = client.recv(65536)
            except TimeoutError:
                continue
        assert received.startswith(b"HTTP/1.1 408")
        # The application gets the disconnect in the next turn of the event loop, perhaps after the client's response.
        assert wait_until(lambda: server.app.disconnected == 1, 60)


def test_incomplete_body_after_its_response_ends_the_connection(server: Server) -> None:
    with server.connect() as client:
        client.sendall(POST.replace(b"/predict", b"/early") + b"01")
        received = all_of(client)
    assert received.startswith(b"HTTP/1.1 200")
    assert received.count(b"HTTP/1.1") == 1


def test_slow_second_request_does_not_disturb_the_first(tmp_path: Path) -> None:
    with running(tmp_path, receive_seconds=3) as server, server.connect() as client:
        client.sendall(GET.replace(b"/health", b"/later") + POST[:20])
        assert server.app.waiting.wait(60)
        server.app.released.set()
        received = all_of(client)
    assert received.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in received


def test_silent_connection_is_closed(tmp_path: Path) -> None:
    with running(tmp_path, keep_alive_seconds=1) as server, ExitStack() as stack:
        silent, empty_lines, active = (stack.enter_context(server.connect()) for _ in range(3))
        empty_lines.sendall(b"\r\n")
        assert gets_response(active)
        active.sendall(b"\r\n")
        assert [all_of(client) for client in (silent, empty_lines, active)] == [b""] * 3


def test_large_body_in_chunks_is_accepted(server: Server) -> None:
    chunk = b"40\r\n" + b"x" * 64 + b"\r\n"
    with server.connect() as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 20_000 + b"0\r\n\r\n"
        )
        assert next_response(client) == (200, str(64 * 20_000).encode())


def test_new_connection_replaces_the_one_that_has_waited_for_longest(tmp_path: Path) -> None:
    limit = 30
    with running(tmp_path, connections=limit, receive_seconds=NEVER) as server, ExitStack() as stack:
        silent = stack.enter_context(server.connect())
        slow = stack.enter_context(server.connect())
        others = [stack.enter_context(server.connect()) for _ in range(limit - 3)]
        assert all(gets_response(client) for client in others)
        slow.sendall(POST)
        busy = stack.enter_context(server.connect())
        busy.sendall(GET.replace(b"/health", b"/later"))
        assert server.app.waiting.wait(60)
        new = stack.enter_context(server.connect())
        assert gets_response(new)
        assert all_of(silent) == b""
        # An incomplete request delays the replacement, but does not prevent it.
        more = [stack.enter_context(server.connect()) for _ in range(limit - 2)]
        assert all(gets_response(client) for client in more)
        assert [all_of(client) for client in (*others, slow)] == [b""] * (limit - 2)
        with server.connect_privately() as private:
            assert gets_response(private)
        server.app.released.set()
        assert next_response(busy) == (200, b"0")
        assert gets_response(new)


def test_probes_are_answered_when_every_connection_is_busy(tmp_path: Path) -> None:
    with running(tmp_path, connections=2, receive_seconds=NEVER) as server, ExitStack() as stack:
        busy = [stack.enter_context(server.connect()) for _ in range(2)]
        for client in busy:
            client.sendall(GET.replace(b"/health", b"/later"))
            assert server.app.waiting.wait(60)
            server.app.waiting.clear()
        with server.connect() as probe, server.connect() as other:
            assert gets_response(probe)
            assert gets_response(probe)
            other.sendall(POST)
            status, body = response_of(other)
            assert (status, body["error"]["kind"]) == (503, "overloaded")
        server.app.released.set()
        assert all(next_response(client) == (200, b"0") for client in busy)


def test_new_connections_do_not_close_a_probe_whose_request_has_not_arrived(tmp_path: Path) -> None:
    with running(tmp_path, connections=1, receive_seconds=NEVER) as server, ExitStack() as stack:
        busy = stack.enter_context(server.connect())
        busy.sendall(GET.replace(b"/health", b"/later"))
        assert server.app.waiting.wait(60)
        probe, *others = [stack.enter_context(server.connect()) for _ in range(PROBE_CONNECTIONS)]
        assert all(gets_response(client) for client in others)
        assert gets_response(probe)
        assert gets_response(stack.enter_context(server.connect()))
        assert all_of(others[0]) == b"", "it has waited for longest"
        assert gets_response(probe)


def test_requests_that_wait_for_responses_are_limited(server: Server) -> None:
    with server.connect() as client:
        server.app.released.clear()
        client.sendall(GET.replace(b"/health", b"/later") + 1000 * GET)
        server.app.released.set()
        received = all_of(client)
    assert received.count(b"HTTP/1.1 200") == 1 + 256
    assert received.count(b"HTTP/1.1") == received.count(b"HTTP/1.1 200") + 1
    assert b"too_many_pipelined" in received


@pytest.mark.parametrize(("connections", "usable"), [(40, 40), (299, 44)])
def test_hard_limit_of_open_files_limits_the_connections(connections: int, usable: int) -> None:
    program = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 300))
from include.logs import configure_json_logs
from include.serving.server.connection_limit import usable_connections
configure_json_logs()
print(usable_connections({connections}), resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert f"{usable} (300, 300)" in done.stdout
    is_logged = "fewer open files allowed than connections need" in done.stdout + done.stderr
    assert is_logged == (usable < connections)
