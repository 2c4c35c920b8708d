"""The private parts of BentoML and uvicorn that the server uses; docs/decisions/0009 lists them."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import bentoml
import pytest
import uvicorn
from _bentoml_impl.server.app import ServiceAppFactory
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from include.settings import ROOT

PAGE = (ROOT / "docs/decisions/0009-private-parts-of-bentoml-and-uvicorn.md").read_text()
OVERRIDDEN = {
    HttpToolsProtocol: [
        "connection_made",
        "connection_lost",
        "data_received",
        "eof_received",
        "on_message_begin",
        "on_headers_complete",
        "on_body",
        "on_message_complete",
        "on_response_complete",
        "timeout_keep_alive_handler",
    ],
    uvicorn.Server: ["startup", "shutdown", "handle_exit"],
}
PROTOCOL = [
    "connections",
    "cycle",
    "expect_100_continue",
    "headers",
    "loop",
    "parser",
    "pipeline",
    "server",
    "shutdown",
    "timeout_keep_alive",
    "timeout_keep_alive_task",
    "transport",
    "url",
    "_unset_keepalive_if_required",
]
CYCLE = ["disconnected", "message_event", "response_complete", "response_started"]
SERVER = ["config", "lifespan", "server_state", "servers", "should_exit"]
SERVER_STATE = ["connections", "default_headers"]
CONFIG = ["backlog", "http_protocol_class"]
FACTORY = ["timeout"]


async def app(scope: Any, receive: Any, send: Any) -> None:
    await receive()


@pytest.fixture(scope="module")
def service() -> Any:
    @bentoml.service(name="private-parts")
    class Service: ...

    return Service


@pytest.fixture(scope="module")
def protocol() -> Iterator[HttpToolsProtocol]:
    """uvicorn's protocol with the headers of one request and the beginning of the next."""

    async def connected() -> HttpToolsProtocol:
        config = uvicorn.Config(app, timeout_keep_alive=7)
        config.load()
        protocol = HttpToolsProtocol(config=config, server_state=ServerState(), app_state={})
        transport = Mock(spec=asyncio.Transport)
        transport.get_extra_info.return_value = None
        protocol.connection_made(transport)
        protocol.data_received(2 * b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0)
        protocol.cycle.message_event.set()
        return protocol

    loop = asyncio.new_event_loop()
    yield loop.run_until_complete(connected())
    loop.close()


@pytest.mark.parametrize(("base", "method"), [(base, method) for base, names in OVERRIDDEN.items() for method in names])
def test_overridden_method_exists(base: type, method: str) -> None:
    assert inspect.isfunction(getattr(base, method))
    assert f"`{method}`" in PAGE


@pytest.mark.parametrize("name", PROTOCOL)
def test_protocol_has_each_used_attribute(protocol: HttpToolsProtocol, name: str) -> None:
    assert hasattr(protocol, name)
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("name", CYCLE)
def test_request_cycle_has_each_used_attribute(protocol: HttpToolsProtocol, name: str) -> None:
    assert hasattr(protocol.cycle, name)
    assert f"`{name}`" in PAGE


def test_protocol_attributes_have_the_expected_values(protocol: HttpToolsProtocol) -> None:
    assert protocol in protocol.connections
    assert protocol.timeout_keep_alive == 7
    assert len(protocol.pipeline) == 1
    assert STATUS_LINE[408].startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    ("part", "names"), [("", SERVER), ("server_state", SERVER_STATE), ("config", CONFIG), ("lifespan", ["state"])]
)
def test_uvicorn_server_has_each_used_attribute(part: str, names: list[str]) -> None:
    config = uvicorn.Config(app)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    # Set by startup().
    assert "self.servers" in inspect.getsource(uvicorn.Server.startup)
    server.servers = []
    for name in names:
        assert hasattr(getattr(server, part) if part else server, name)
        assert f"`{name}`" in PAGE


def test_bentoml_factory_makes_an_application_without_a_timeout(service: Any) -> None:
    service.inject_config()
    factory = ServiceAppFactory(service)
    assert set(FACTORY) <= set(vars(factory))
    factory.timeout = None
    made = factory()
    assert isinstance(made, Starlette)
    assert not [middleware for middleware in made.user_middleware if "Timeout" in str(middleware.cls)]


def test_bentoml_context_has_each_used_attribute() -> None:
    for name in ("service_name", "bento_name", "bento_version"):
        assert hasattr(bentoml.server_context, name)
        assert f"`{name}`" in PAGE


def test_declared_version_bounds_equal_those_on_the_page() -> None:
    declared = re.findall(r'"((?:bentoml|uvicorn)>=[^"]+)"', (ROOT / "pyproject.toml").read_text())
    assert len(declared) == 2
    for bound in declared:
        assert "<" in bound
        assert f"`{bound}`" in PAGE
