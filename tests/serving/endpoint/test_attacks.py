"""Odd, half and idle requests: a real server that asks for a key, real sockets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from include.serving.deployment.pointer import BentoReference
from include.settings import Settings
from tests.serving.endpoint.servers import GOOD, Served, running

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def endpoint(
    bento: BentoReference, make_settings: Callable[[], Settings], key_file: Path, key: str
) -> Iterator[Served]:
    settings = make_settings()
    serving = settings.serving.model_copy(update={"api_keys_file": key_file})
    with running(bento, settings.model_copy(update={"serving": serving})) as served:
        yield served
        began = time.monotonic()
    # A layer around the endpoint that waits for an answer to a client who has left would hold up the end.
    assert time.monotonic() - began < 8


def speak(endpoint: Served, sent: bytes) -> bytes:
    """Send bytes on a connection, and return the head of the first answer."""
    with socket.create_connection(("127.0.0.1", httpx.URL(endpoint.url).port or 80)) as client:
        client.settimeout(10)
        client.sendall(sent)
        received = b""
        while b"\r\n\r\n" not in received and (chunk := client.recv(65536)):
            received += chunk
        return received


BODY = json.dumps({"customer_id": "private-4711", "features": GOOD}).encode()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
JSON = b"Content-Type: application/json\r\n"


def post(headers: bytes, body: bytes = BODY, version: bytes = b"HTTP/1.1") -> bytes:
    return b"POST /predict " + version + b"\r\nHost: x\r\nX-API-Key: KEY\r\n" + headers + b"\r\n" + body


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        pytest.param(post(JSON + LENGTH), {200}, id="as it should be"),
        pytest.param(post(JSON + LENGTH, version=b"HTTP/1.0"), {200}, id="HTTP/1.0"),
        pytest.param(post(JSON + LENGTH, version=b"HTTP/3.7"), {400}, id="HTTP/3.7"),
        pytest.param(post(JSON + JSON + LENGTH), {415}, id="two content types"),
        pytest.param(post(JSON + b"Content-Encoding: gzip\r\n" + LENGTH), {415}, id="compressed"),
        pytest.param(post(JSON + LENGTH + b"Transfer-Encoding: chunked\r\n"), {400}, id="length and chunks"),
        pytest.param(post(JSON + LENGTH + b"Content-Length: 3\r\n"), {400}, id="two lengths"),
        pytest.param(post(JSON + b"Content-Length: -1\r\n"), {400}, id="negative length"),
        pytest.param(post(JSON + b"Content-Length: 99999999999999999999\r\n"), {400}, id="length beyond 64 bits"),
        pytest.param(post(JSON + b"Transfer-Encoding: chunked\r\n", b"zz\r\n"), {400}, id="chunk of no size"),
        pytest.param(post(JSON + b"Transfer-Encoding: chunked, identity\r\n"), {400, 411}, id="chunked not last"),
        pytest.param(post(JSON + b"X: a\x00b\r\n" + LENGTH), {400}, id="null byte in a header"),
        pytest.param(post(JSON + b"X : space\r\n" + LENGTH), {400}, id="space before the colon"),
        pytest.param(post(JSON + b"X-API-Key: other\r\n" + LENGTH), {401, 429}, id="two keys"),
        pytest.param(b"GET /model?x-api-key=KEY HTTP/1.1\r\nHost: x\r\n\r\n", {401, 429}, id="key in the address"),
        pytest.param(b"GET /model\x00 HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="null byte in the path"),
        pytest.param(b"GET /%00%ff%zz%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", {401, 429}, id="bad escapes"),
        pytest.param(b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\n\r\n", {404}, id="traversal"),
        pytest.param(b"GET //health HTTP/1.1\r\nHost: x\r\n\r\n", {400, 401, 429}, id="two slashes"),
        pytest.param(b"GET /health/../model HTTP/1.1\r\nHost: x\r\n\r\n", {401, 429}, id="open route as a prefix"),
        pytest.param(b"GET http://x/model HTTP/1.1\r\nHost: x\r\n\r\n", {401, 429}, id="absolute address"),
        pytest.param(b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", {400, 401, 429}, id="CONNECT"),
        pytest.param(b"TRACE /predict HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\n\r\n", {405}, id="TRACE"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\n\r\n", {400, 404}, id="OPTIONS *"),
        pytest.param(b"OPTIONS /predict HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\n\r\n", {405}, id="OPTIONS"),
        pytest.param(b"HEAD /predict HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\n\r\n", {405}, id="HEAD"),
        pytest.param(b"HEAD /health HTTP/1.1\r\nHost: x\r\n\r\n", {200}, id="HEAD of a probe"),
        pytest.param(
            b"GET /model HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
            {401, 403, 429},
            id="websocket",
        ),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {400}, id="HTTP/2"),
        pytest.param(b"\x16\x03\x01private-4711\r\n\r\n", {400}, id="TLS"),
    ],
)
def test_odd_requests_are_refused_and_leave_no_trace(
    endpoint: Served, key: str, sent: bytes, statuses: set[int]
) -> None:
    received = speak(endpoint, sent.replace(b"KEY", key.encode()))
    assert int(received.split(b" ", 2)[1]) in statuses
    log = endpoint.log.read_text()
    assert "Traceback" not in log
    assert "private-4711" not in log
    assert "passwd" not in log + endpoint.http.get("/metrics").text


@pytest.mark.parametrize("sent", [b"", b"GET /he", post(JSON + LENGTH, b""), post(JSON + LENGTH, BODY[:20])])
def test_half_a_request_leaves_no_trace(endpoint: Served, key: str, sent: bytes) -> None:
    logged = endpoint.log.read_text()
    with socket.create_connection(("127.0.0.1", httpx.URL(endpoint.url).port or 80)) as client:
        client.sendall(sent.replace(b"KEY", key.encode()))
    assert endpoint.predict({"X-API-Key": key}).status_code == 200
    assert endpoint.log.read_text() == logged


def test_a_thousand_idle_connections_are_in_nobodys_way(endpoint: Served, key: str) -> None:
    address = ("127.0.0.1", httpx.URL(endpoint.url).port or 80)
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(socket.create_connection(address))
        with httpx.Client(base_url=endpoint.url, timeout=20, trust_env=False) as new:
            assert new.get("/health").status_code == 200
            assert new.get("/model", headers={"X-API-Key": key}).status_code == 200
        assert endpoint.predict({"X-API-Key": key}).status_code == 200
