"""Connections of slow, silent and endless clients: real sockets, and a server with a trivial application."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from include.serving.server.connection import BoundedConnection
from include.serving.server.connection_limit import ConnectionLimit
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


def gets_response(client: socket.socket) -> bool:
    client.sendall(GET)
    return client.recv(65536).startswith(b"HTTP/1.1 200")


def test_pipelined_requests_get_responses_in_order(server: Server) -> None:
    with server.connect() as client:
        for _ in range(3):
            client.sendall(POST + b"0123456789")
            assert client.recv(65536).endswith(b"10")
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


def test_slowly_arriving_request_gets_408(server: Server) -> None:
    disconnected = server.app.disconnected
    with server.connect() as client:
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
    assert wait_until(lambda: server.app.disconnected == disconnected + 1, 60)


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
    with running(tmp_path, keep_alive_seconds=1) as server, server.connect() as silent, server.connect() as active:
        assert gets_response(active)
        assert all_of(silent) == b""
        assert all_of(active) == b""


@pytest.mark.parametrize(
    "endless",
    [
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * 2**20, id="one header"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Many: x\r\n" * 10**5, id="many headers"),
        pytest.param(b"GET /" + b"x" * 2**20, id="path"),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1;" + b"x" * 2**20, id="extension"
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-Many: x\r\n" * 10**5,
            id="trailers",
        ),
        pytest.param(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 10**5,
            id="tiny chunks",
        ),
    ],
)
def test_endless_headers_are_rejected(server: Server, endless: bytes) -> None:
    with server.connect() as client:
        with suppress(ConnectionError):
            client.sendall(endless)
        received = all_of(client)
    # The response is lost when the client is still sending.
    assert received == b"" or received.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))


def test_large_body_in_chunks_is_accepted(server: Server) -> None:
    chunk = b"40\r\n" + b"x" * 64 + b"\r\n"
    with server.connect() as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 20_000 + b"0\r\n\r\n"
        )
        assert client.recv(65536).endswith(str(64 * 20_000).encode())


def test_malformed_http_gets_an_error_response(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 secret\r\n\r\n")
        status, body = response_of(client)
    assert (status, body["error"]["kind"]) == (400, "malformed_http")


def test_connections_beyond_the_limit_are_closed(tmp_path: Path) -> None:
    limit = 30
    with running(tmp_path, connections=limit) as server, ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(limit)]
        assert all(gets_response(client) for client in clients)
        with server.connect() as one_more:
            assert all_of(one_more) == b""
        with server.connect_privately() as private:
            assert gets_response(private)
        assert all(gets_response(client) for client in clients)
        clients[0].close()
        assert wait_until(lambda: accepts_a_client(server), 60)


def accepts_a_client(server: Server) -> bool:
    with server.connect() as client:
        try:
            return gets_response(client)
        except ConnectionError:
            return False


@pytest.mark.parametrize(("connections", "is_logged"), [(100, False), (299, True)])
def test_hard_limit_of_open_files_that_is_too_low_is_logged(connections: int, is_logged: bool) -> None:
    program = f"""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 300))
from include.logs import configure_json_logs
from include.serving.server.connection_limit import usable_connections
configure_json_logs()
print(usable_connections({connections}), resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "(300, 300)" in done.stdout
    assert ("fewer open files allowed than connections need" in done.stdout + done.stderr) == is_logged
