"""Authentication through ASGI requests; test_protection.py covers a real server."""

from __future__ import annotations

import asyncio
import datetime as dt
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import Message

from include.serving.endpoint import authentication
from include.serving.endpoint.authentication import Authentication
from include.serving.endpoint.keys import KeyRing, add_key

YESTERDAY = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
LIMIT = 3


async def respond(_: Request) -> PlainTextResponse:
    return PlainTextResponse("passed")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "api-keys.json"


@pytest.fixture
def key(key_file: Path) -> str:
    return add_key(key_file, "crm")


@pytest.fixture
def app(key_file: Path, key: str) -> Authentication:
    paths = ("/predict", "/predict_batch", "/model", "/health", "/livez", "/readyz", "/metrics", "/openapi.json", "/")
    routes = [Route(path, respond, methods=["GET", "POST"]) for path in paths]
    ring = KeyRing(key_file, reload_seconds=0)
    return Authentication(Starlette(routes=routes), ring, open_routes=("/metrics",), failures_per_minute=LIMIT)


Send = Callable[..., httpx.Response]


@pytest.fixture
def send(app: Authentication) -> Send:
    def send(path: str = "/predict", headers: Any = None, address: str = "192.0.2.1") -> httpx.Response:
        async def request() -> httpx.Response:
            transport = httpx.ASGITransport(app, client=(address, 1234))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:3000") as http:
                return await http.post(path, headers=headers)

        return asyncio.run(request())

    return send


@pytest.mark.parametrize(
    "path", ["/predict", "/predict_batch", "/model", "/openapi.json", "/", "/nowhere", "/health/x"]
)
def test_route_needs_a_key(send: Send, key: str, path: str) -> None:
    response = send(path)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.json()["error"]["kind"] == "unauthorized"
    assert send(path, {"X-API-Key": key}).status_code in {200, 404}


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz", "/metrics"])
def test_route_is_open(send: Send, path: str) -> None:
    assert send(path).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-API-Key": "{key}"}, 200),
        ({"x-api-key": " {key} "}, 200),
        ({"Authorization": "Bearer {key}"}, 200),
        ({"authorization": "bearer   {key}"}, 200),
        ({"Authorization": "Basic {key}"}, 401),
        ({"Authorization": "{key}"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"X-API-Key": ""}, 401),
        ({"X-API-Key": "{key}x"}, 401),
        ({"X-API-Key": "{key}, {key}"}, 401),
        ([("X-API-Key", "{key}"), ("X-API-Key", "other")], 401),
        ([("X-API-Key", "{key}"), ("Authorization", "Bearer other")], 401),
        ({"Cookie": "X-API-Key={key}"}, 401),
    ],
)
def test_key_is_read_from_its_headers_only(send: Send, key: str, headers: Any, status: int) -> None:
    pairs = headers.items() if isinstance(headers, dict) else headers
    assert send(headers=[(name, value.format(key=key)) for name, value in pairs]).status_code == status


def test_key_in_the_url_is_ignored(send: Send, key: str) -> None:
    assert send(f"/predict?api_key={key}&X-API-Key={key}").status_code == 401


def test_expired_key_is_rejected(send: Send, key_file: Path) -> None:
    assert send(headers={"X-API-Key": add_key(key_file, "old", YESTERDAY)}).status_code == 401


def test_too_many_failures_get_429_with_retry_after(send: Send) -> None:
    assert [send(headers={"X-API-Key": f"guess-{n}"}).status_code for n in range(LIMIT + 2)] == [401] * LIMIT + [
        429
    ] * 2
    response = send()
    assert 1 <= int(response.headers["Retry-After"]) <= 60
    assert response.json()["error"]["kind"] == "too_many_failures"
    assert send("/health").status_code == 200


def test_valid_key_is_accepted_from_an_address_with_failures(send: Send, key: str) -> None:
    for _ in range(LIMIT + 1):
        send()
    assert send().status_code == 429
    assert send(headers={"X-API-Key": key}).status_code == 200
    assert send().status_code == 429


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ],
)
def test_failures_are_counted_by_client(send: Send, first: str, second: str, shared: bool) -> None:
    for _ in range(LIMIT):
        send(address=first)
    assert send(address=second).status_code == (429 if shared else 401)


def test_memory_does_not_grow_with_the_number_of_addresses(
    app: Authentication, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authentication, "_COUNTERS", 64)

    async def fail(address: str) -> None:
        scope = {"type": "http", "path": "/predict", "headers": [], "client": (address, 1), "server": ("127.0.0.1", 80)}
        await app(scope, nothing, dropped)

    async def fail_from(first: int) -> int:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(first, first + 500):
            await fail(f"10.0.{number >> 8}.{number & 255}")
        return tracemalloc.get_traced_memory()[0] - before

    tracemalloc.start()
    try:
        grown, grown_again = asyncio.run(fail_from(0)), asyncio.run(fail_from(500))
    finally:
        tracemalloc.stop()
    assert grown_again < grown / 2


def test_unix_socket_needs_no_key(app: Authentication) -> None:
    assert status(app, {"type": "http", "server": ("/run/churn.sock", None), "client": None}) == 200


def test_unknown_server_address_needs_a_key(app: Authentication) -> None:
    assert status(app, {"type": "http", "server": None, "client": None}) == 401


def test_websocket_needs_a_key(app: Authentication) -> None:
    assert status(app, {"type": "websocket", "server": ("127.0.0.1", 80), "client": ("192.0.2.1", 1)}) == 401


def status(app: Callable[..., Awaitable[None]], scope: dict[str, Any]) -> int:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    request = {"method": "POST", "path": "/predict", "raw_path": b"/predict", "query_string": b"", "headers": []}
    asyncio.run(app(request | scope, nothing, send))
    return int(sent[0]["status"])


async def nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def dropped(_: Message) -> None: ...
