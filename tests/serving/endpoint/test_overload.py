"""A load of ten times the endpoint's capacity, with a real server and real connections."""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httptools
import httpx
import numpy as np
import psutil
import pytest

from include.settings import LimitSettings
from include.training.model.bundle import Bundle
from tests.serving.conftest import synthetic_columns
from tests.serving.endpoint.conftest import soft_limit_of_open_files
from tests.serving.endpoint.servers import Served

pytestmark = [pytest.mark.slow, pytest.mark.timing]

CONNECTIONS = 10 * LimitSettings().in_flight
REQUESTS_PER_CONNECTION = 30
ROWS = 50
HEAD = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"


@pytest.fixture(autouse=True)
def enough_open_files() -> Iterator[None]:
    """Raise the limit of open files for the clients; the server raises its own limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * CONNECTIONS:
        pytest.skip(f"this user may open {hard} files, and {CONNECTIONS} connections need more (ulimit -Hn)")
    with soft_limit_of_open_files(hard):
        yield


@dataclass
class Results:
    """The results of all clients.

    Attributes:
        elapsed: The seconds from the first request to the last response.
        seconds: By status, the times from sending to the response, without the first requests of the connections.
        first_seconds: The same of the first requests, which also wait until the server accepts their connections.
        health: The number of responses of ``/health`` by status.
        wrong: Descriptions of wrong and missing responses.
        memory: The memory of the servers in bytes, about ten times a second.
    """

    elapsed: float = 0
    seconds: dict[int, list[float]] = field(default_factory=dict)
    first_seconds: dict[int, list[float]] = field(default_factory=dict)
    health: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


class Client(asyncio.Protocol):
    """Sends its requests one after the other, each after the response to the request before.

    The client does little work, because thousands of clients share a processor with the server.
    """

    def __init__(self, number: int, results: Results, requests: Sequence[bytes], expected: Sequence[float]) -> None:
        self._results, self._requests, self._expected = results, requests, expected
        self._number = self._first = number
        self._last = number + REQUESTS_PER_CONNECTION - 1
        self._parser = httptools.HttpResponseParser(self)
        self._sent = 0.0
        self._headers: dict[bytes, bytes] = {}
        self._body = b""
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        now, status = time.monotonic(), self._parser.get_status_code()
        is_first = self._number == self._first
        seconds = self._results.first_seconds if is_first else self._results.seconds
        seconds.setdefault(status, []).append(now - self._sent)
        if not self._is_right(status):
            self._results.wrong.append(f"{status} {self._headers} {self._body!r}")
        self._headers, self._body = {}, b""
        if self._number == self._last:
            self.done.set_result(None)
            self._transport.close()
        else:
            self._number += 1
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self._results.wrong.append("closed without a response")
            self.done.set_result(None)

    def send(self) -> None:
        self._sent = time.monotonic()
        self._transport.write(self._requests[self._number % ROWS])

    def _is_right(self, status: int) -> bool:
        body = json.loads(self._body)
        if status == 503:
            return self._headers.get(b"retry-after") == b"1" and bool(body["error"]["kind"] == "overloaded")
        row = self._number % ROWS
        is_close = abs(body.get("churn_probability", 2) - self._expected[row]) < 1e-6
        return status == 200 and body["customer_id"] == str(row) and is_close


async def overload(endpoint: Served, requests: Sequence[bytes], expected: Sequence[float]) -> Results:
    results = Results()
    host, port = endpoint.address
    servers = processes_of(port)

    async def connect(number: int) -> Client:
        client = Client(number, results, requests, expected)
        await asyncio.get_running_loop().create_connection(lambda: client, host, port)
        return client

    async def watch(responses: asyncio.Future[list[None]]) -> None:
        async with httpx.AsyncClient(base_url=endpoint.url, timeout=60, trust_env=False) as http:
            while not responses.done():
                results.health[(await http.get("/health")).status_code] += 1
                results.memory.append(sum(server.memory_info().rss for server in servers))
                await asyncio.sleep(0.1)

    clients = await asyncio.gather(*(connect(number) for number in range(CONNECTIONS)))
    began = time.monotonic()
    for client in clients:
        client.send()
    responses = asyncio.gather(*(client.done for client in clients))
    await asyncio.gather(responses, watch(responses))
    results.elapsed = time.monotonic() - began
    return results


def processes_of(port: int) -> list[psutil.Process]:
    """Return all processes that have the endpoint's port."""
    holders = {connection.pid for connection in psutil.net_connections("tcp4") if connection.laddr.port == port}
    return [psutil.Process(pid) for pid in holders if pid]


def test_requests_beyond_the_capacity_get_503_fast_and_the_others_right_answers(
    endpoint: Served, bundle: Bundle
) -> None:
    columns = synthetic_columns(ROWS, seed=11)
    expected = bundle.predict(columns).tolist()
    rows = [{name: values[row] for name, values in columns.items()} for row in range(ROWS)]
    bodies = [json.dumps({"customer_id": str(row), "features": features}).encode() for row, features in enumerate(rows)]
    requests = [HEAD.format(size=len(body)).encode() + body for body in bodies]

    results = asyncio.run(overload(endpoint, requests, expected))

    for name, by_status in (("first", results.first_seconds), ("later", results.seconds)):
        for status, seconds in by_status.items():
            print(name, status, len(seconds), "p50, p99, max:", np.quantile(seconds, [0.5, 0.99, 1]).round(3), "s")
    assert results.wrong == []
    assert set(results.seconds) == {200, 503}
    # The mean time of a request on this machine at this moment is clients / throughput.
    mean = results.elapsed / REQUESTS_PER_CONNECTION
    print(f"{results.elapsed:.1f} s, {mean:.3f} s for a request in the mean")
    assert np.quantile(results.seconds[503], 0.99) < 5 * mean
    assert np.quantile(results.first_seconds[503], 0.99) < 10 * mean
    assert set(results.health) == {200}
    # Memory does not grow with each request: the second half of the samples is as large as the first half.
    half = len(results.memory) // 2
    assert max(results.memory[half:]) < 1.05 * max(results.memory[:half]) + 10 * 2**20
    assert [endpoint.predict().status_code for _ in range(20)] == [200] * 20
    assert "Traceback" not in endpoint.log.read_text()
