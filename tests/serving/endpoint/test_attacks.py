"""Hostile, incomplete and idle requests at a real server, with and without keys."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import ExitStack

import httpx
import pytest

from benchmarks.attacks.cases import REFUSED, Case, post
from benchmarks.attacks.requests import RequestFigures, exchanges_of, hostile_cases, run_exchanges
from include.training.model.bundle import Bundle
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


def predict(headers: bytes, body: bytes = BODY) -> bytes:
    return b"POST /predict HTTP/1.1\r\nHost: x\r\nX-API-Key: KEY\r\n" + JSON + headers + b"\r\n" + body


def test_hostile_requests_get_the_allowed_responses(endpoint: Served, bundle: Bundle) -> None:
    cases = hostile_cases([sample.features for sample in bundle.samples])
    exchanges = [list(exchanges_of(case)) for case in cases]
    # Each case in one part, and some of them in all segmentations.
    chosen = [*(of_case[0] for of_case in exchanges), *(part for of_case in exchanges[::12] for part in of_case[1:])]
    figures = run_exchanges(endpoint.url, chosen)
    assert figures.requests > len(cases)
    assert figures == RequestFigures(figures.requests)
    log = endpoint.log.read_text()
    assert "Traceback" not in log
    assert "hidden" not in log
    assert "hidden" not in endpoint.http.get("/metrics").text


def test_requests_that_are_not_allowed_are_counted() -> None:
    """A server that answers 200 to everything, and 500 to the last request."""
    answers = iter([b"200 OK"] * 3 + [b"500 Error"])

    def serve(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client:
            received = client.recv(65536)
            for _ in range(received.count(b"HTTP/1.1\r\n") + 1):
                client.sendall(b"HTTP/1.1 " + next(answers) + b"\r\nContent-Length: 2\r\n\r\n{}")

    smuggling = Case("two lengths", post(b"Content-Length: 0\r\n", b"GET / HTTP/1.1\r\n\r\n"), (REFUSED,), closes=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        figures = run_exchanges(f"http://127.0.0.1:{listener.getsockname()[1]}", [next(exchanges_of(smuggling))])
        thread.join()
    assert (figures.requests, figures.answers_5xx, figures.smuggled) == (2, 1, 3)
    assert figures.findings == ["two lengths (whole): [200, 200, 200, 500]"]


@pytest.mark.parametrize(
    ("sent", "statuses"),
    [
        pytest.param(predict(LENGTH), {200}, id="valid"),
        pytest.param(predict(b"X-API-Key: other\r\n" + LENGTH), {401, 429}, id="two keys"),
        pytest.param(b"GET /model?x-api-key=KEY HTTP/1.1\r\nHost: x\r\n\r\n", {401, 429}, id="key in the address"),
        pytest.param(
            predict(b"Transfer-Encoding: chunked\r\n", b"0\r\nX-API-Key: KEY\r\n\r\n").replace(b"KEY", b"other", 1),
            {401, 429},
            id="key in the trailers",
        ),
        pytest.param(b"GET /%00%ff%zz%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", {401, 429}, id="bad escapes"),
        pytest.param(b"GET /health/../model HTTP/1.1\r\nHost: x\r\n\r\n", {401, 429}, id="open route as a prefix"),
        pytest.param(b"GET http://x/model HTTP/1.1\r\nHost: x\r\n\r\n", {401, 429}, id="absolute address"),
        pytest.param(
            b"GET /model HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
            {401, 429},
            id="websocket",
        ),
        pytest.param(b"\x16\x03\x01customer-4711-private\r\n\r\n", {400}, id="TLS"),
    ],
)
def test_request_without_exactly_one_key_gets_an_error_response_and_is_not_logged(
    protected_endpoint: Served, key: str, sent: bytes, statuses: set[int]
) -> None:
    received = send(protected_endpoint, sent.replace(b"KEY", key.encode()))
    assert int(received.split(b" ", 2)[1]) in statuses
    log = protected_endpoint.log.read_text()
    assert "Traceback" not in log
    assert PRIVATE not in log
    assert "passwd" not in log + protected_endpoint.http.get("/metrics").text


@pytest.mark.parametrize("sent", [b"", b"GET /he", predict(LENGTH, b""), predict(LENGTH, BODY[:20])])
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
