"""Malformed, incomplete and idle requests at a real server that requires a key."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack

import httpx
import pytest

from tests.serving.endpoint.conftest import SOFT_LIMIT
from tests.serving.endpoint.servers import GOOD, PRIVATE, Served

pytestmark = pytest.mark.slow


def send(endpoint: Served, sent: bytes) -> bytes:
    """Send bytes on a new connection, and return the headers of the first response."""
    with socket.create_connection(endpoint.address) as client:
        client.settimeout(10)
        client.sendall(sent)
        received = b""
        while b"\r\n\r\n" not in received and (chunk := client.recv(65536)):
            received += chunk
        return received


BODY = json.dumps({"customer_id": PRIVATE, "features": GOOD}).encode()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
JSON = b"Content-Type: application/json\r\n"


def post(headers: bytes, body: bytes = BODY, version: bytes = b"HTTP/1.1") -> bytes:
    return b"POST /predict " + version + b"\r\nHost: x\r\nX-API-Key: KEY\r\n" + headers + b"\r\n" + body


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        pytest.param(post(JSON + LENGTH), {200}, id="valid"),
        pytest.param(post(JSON + LENGTH, version=b"HTTP/1.0"), {200}, id="HTTP/1.0"),
        pytest.param(post(JSON + LENGTH, version=b"HTTP/3.7"), {400}, id="HTTP/3.7"),
        pytest.param(post(JSON + JSON + LENGTH), {415}, id="two content types"),
        pytest.param(post(JSON + b"Content-Encoding: gzip\r\n" + LENGTH), {415}, id="compressed"),
        pytest.param(post(JSON + LENGTH + b"Transfer-Encoding: chunked\r\n"), {400}, id="length and chunks"),
        pytest.param(post(JSON + LENGTH + b"Content-Length: 3\r\n"), {400}, id="two lengths"),
        pytest.param(post(JSON + b"Content-Length: -1\r\n"), {400}, id="negative length"),
        pytest.param(post(JSON + b"Content-Length: 99999999999999999999\r\n"), {400}, id="length beyond 64 bits"),
        pytest.param(post(JSON + b"Transfer-Encoding: chunked\r\n", b"zz\r\n"), {400}, id="chunk without a size"),
        pytest.param(post(JSON + b"Transfer-Encoding: chunked, identity\r\n"), {400, 411}, id="chunked not last"),
        pytest.param(post(JSON + b"X: a\x00b\r\n" + LENGTH), {400}, id="null byte in a header"),
        pytest.param(post(JSON + b"X : space\r\n" + LENGTH), {400}, id="space before the colon"),
        pytest.param(post(JSON + b"X-API-Key: other\r\n" + LENGTH), {401, 429}, id="two keys"),
        pytest.param(b"GET /model?x-api-key=KEY HTTP/1.1\r\nHost: x\r\n\r\n", {401, 429}, id="key in the address"),
        pytest.param(b"GET /model\x00 HTTP/1.1\r\nHost: x\r\n\r\n", {400}, id="null byte in the path"),
        pytest.param(b"GET /%00%ff%zz%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", {401, 429}, id="bad escapes"),
        pytest.param(post(JSON + LENGTH).replace(b"/predict", b"/predict%0A"), {400, 404}, id="newline after the path"),
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
        pytest.param(b"\x16\x03\x01customer-4711-private\r\n\r\n", {400}, id="TLS"),
    ],
)
def test_malformed_request_gets_an_error_response_and_is_not_logged(
    protected_endpoint: Served, key: str, sent: bytes, statuses: set[int]
) -> None:
    received = send(protected_endpoint, sent.replace(b"KEY", key.encode()))
    assert int(received.split(b" ", 2)[1]) in statuses
    log = protected_endpoint.log.read_text()
    assert "Traceback" not in log
    assert PRIVATE not in log
    assert "passwd" not in log + protected_endpoint.http.get("/metrics").text


@pytest.mark.parametrize("sent", [b"", b"GET /he", post(JSON + LENGTH, b""), post(JSON + LENGTH, BODY[:20])])
def test_incomplete_request_is_not_logged(protected_endpoint: Served, key: str, sent: bytes) -> None:
    logged = protected_endpoint.log.read_text()
    with socket.create_connection(protected_endpoint.address) as client:
        client.sendall(sent.replace(b"KEY", key.encode()))
    assert protected_endpoint.predict({"X-API-Key": key}).status_code == 200
    assert protected_endpoint.log.read_text() == logged


def test_serves_beside_idle_connections_beyond_the_soft_limit_of_open_files(
    protected_endpoint: Served, key: str
) -> None:
    with ExitStack() as stack:
        for _ in range(4 * SOFT_LIMIT):
            stack.enter_context(socket.create_connection(protected_endpoint.address))
        for _ in range(5):
            # Each request opens a new connection, which is one more open file.
            assert httpx.get(f"{protected_endpoint.url}/health", trust_env=False, timeout=60).status_code == 200
        assert protected_endpoint.predict({"X-API-Key": key}).status_code == 200
    assert "Too many open files" not in protected_endpoint.log.read_text()
