"""Connections of slow, silent and endless clients: a real server that answers in one line, real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from include.serving.endpoint.connection import BoundedConnection
from include.settings import LimitSettings
from local.supervision import wait_until

pytestmark = pytest.mark.slow  # waits for limits of seconds

RECEIVE_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 2
CONNECTIONS = 30
POST = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


class App:
    """Answers with the size of the body; to /early before it has read it; to /later when it is told to."""

    def __init__(self) -> None:
        self.left = 0
        self.later = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = b"" if scope["path"] == "/early" else await Request(scope, receive).body()
            while scope["path"] == "/later" and not self.later.is_set():
                await asyncio.sleep(0.01)
            await Response(str(len(body)))(scope, receive, send)
        except ClientDisconnect:
            self.left += 1


class Server:
    """A server on a port and on a Unix socket, in a thread."""

    def __init__(self, folder: Path) -> None:
        self.app = App()
        limits = LimitSettings(connections=CONNECTIONS, receive_seconds=RECEIVE_SECONDS)
        config = uvicorn.Config(
            self.app,
            http=partial(BoundedConnection, limits=limits),  # type: ignore[arg-type]  # uvicorn only calls it
            ws="none",
            loop="uvloop",
            log_config=None,
            lifespan="off",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        listener = socket.create_server(("127.0.0.1", 0))
        private = socket.socket(socket.AF_UNIX)
        private.bind(str(folder / "private.sock"))
        self.address, self.private = listener.getsockname(), private.getsockname()
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener, private],))
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(10)

    def connect(self) -> socket.socket:
        client = socket.create_connection(self.address)
        client.settimeout(10)
        return client

    def connect_privately(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(self.private)
        return client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


def all_of(client: socket.socket) -> bytes:
    """Return everything up to the end of the connection."""
    received = b""
    try:
        while chunk := client.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def answer_of(client: socket.socket) -> tuple[int, Any]:
    """Return the status and the JSON of the last answer on a connection that ends."""
    head, _, body = all_of(client).rpartition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


def is_answered(client: socket.socket) -> bool:
    client.sendall(GET)
    return client.recv(65536).startswith(b"HTTP/1.1 200")


def test_requests_are_answered_one_after_the_other(server: Server) -> None:
    with server.connect() as client:
        for _ in range(3):
            client.sendall(POST + b"0123456789")
            assert client.recv(65536).endswith(b"10")
        client.sendall(GET + POST + b"0123456789" + GET)
        received = b""
        while received.count(b"HTTP/1.1 200 OK") < 3:
            received += client.recv(65536)


@pytest.mark.parametrize("sent", [b"POST /pre", POST[:-2], POST, POST + b"01234"])
def test_request_that_does_not_arrive_is_given_up(server: Server, sent: bytes) -> None:
    with server.connect() as client:
        client.sendall(sent)
        status, body = answer_of(client)
    assert (status, body["error"]["kind"]) == (408, "too_slow")


def test_trickling_does_not_help(server: Server) -> None:
    left = server.app.left
    with server.connect() as client:
        client.sendall(POST.replace(b"10\r\n", b"1000\r\n"))
        began = time.monotonic()
        client.settimeout(0.05)
        received = b""
        while not received and time.monotonic() - began < 10:
            client.send(b"x")
            try:
                received = client.recv(65536)
            except TimeoutError:
                continue
    assert received.startswith(b"HTTP/1.1 408")
    # The application hears of it in the loop's next turn, when the client may have its answer already.
    assert wait_until(lambda: server.app.left == left + 1, 30)


def test_body_that_comes_after_its_answer_is_given_up_too(server: Server) -> None:
    with server.connect() as client:
        client.sendall(POST.replace(b"/predict", b"/early") + b"01")
        received = all_of(client)
    assert received.startswith(b"HTTP/1.1 200")
    assert received.count(b"HTTP/1.1") == 1


def test_slow_second_request_does_not_disturb_the_first(server: Server) -> None:
    server.app.later.clear()
    with server.connect() as client:
        client.sendall(GET.replace(b"/health", b"/later") + POST[:20])
        time.sleep(RECEIVE_SECONDS / 10)
        server.app.later.set()
        received = all_of(client)
    assert received.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in received


def test_silent_connection_is_closed(server: Server) -> None:
    with server.connect() as silent, server.connect() as answered:
        assert is_answered(answered)
        assert all_of(silent) == b""
        assert all_of(answered) == b""


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
def test_headers_without_end_are_cut_off(server: Server, endless: bytes) -> None:
    with server.connect() as client:
        with suppress(ConnectionError):
            client.sendall(endless)
        received = all_of(client)
    # The answer is lost where the client was still sending.
    assert received == b"" or received.startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))


def test_body_in_chunks_may_be_large(server: Server) -> None:
    chunk = b"40\r\n" + b"x" * 64 + b"\r\n"
    with server.connect() as client:
        client.sendall(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 20_000 + b"0\r\n\r\n"
        )
        assert client.recv(65536).endswith(str(64 * 20_000).encode())


def test_what_is_not_http_is_refused_in_the_same_form(server: Server) -> None:
    with server.connect() as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 secret\r\n\r\n")
        status, body = answer_of(client)
    assert (status, body["error"]["kind"]) == (400, "malformed_http")


def test_too_many_connections_are_closed_and_the_others_go_on(server: Server) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(CONNECTIONS)]
        assert all(is_answered(client) for client in clients)
        with server.connect() as one_more:
            assert all_of(one_more) == b""
        with server.connect_privately() as private:
            assert is_answered(private)
        assert all(is_answered(client) for client in clients)
        clients[0].close()
        assert until_answered(server)


def until_answered(server: Server) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with server.connect() as client:
            try:
                if is_answered(client):
                    return True
            except ConnectionError:
                time.sleep(0.05)
    return False
