"""Ten times more than the endpoint takes on, for half a minute: a real server, real connections."""

from __future__ import annotations

import asyncio
import json
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import aiohttp
import httptools
import httpx
import numpy as np
import psutil
import pytest

from include.serving.deployment.pointer import BentoReference
from include.settings import LimitSettings, Settings
from include.training.model.bundle import Bundle
from tests.serving.conftest import synthetic_columns
from tests.serving.endpoint.servers import Served, running

pytestmark = pytest.mark.slow

CONNECTIONS = 10 * LimitSettings().in_flight
SECONDS = 30
ROWS = 50
# One processor of two gives 0.3 s: a machine that is several times as busy keeps this.
REFUSED_SECONDS = 2.0
HEAD = "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n"


@pytest.fixture(scope="module")
def endpoint(bento: BentoReference, make_settings: Callable[[], Settings]) -> Iterator[Served]:
    """A server with the default limits."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * CONNECTIONS:
        pytest.skip(f"this user may open {hard} files, and {CONNECTIONS} connections need more (ulimit -Hn)")
    # For the clients; the server sees to itself.
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with running(bento, make_settings()) as served:
            yield served
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@dataclass
class Seen:
    """What the clients of an overloaded endpoint saw; seconds from sending, or from connecting, to the answer."""

    seconds: dict[int, list[float]] = field(default_factory=dict)
    health: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)


class Client(asyncio.Protocol):
    """Connects under load, and asks again as soon as it is answered, until the end.

    Lean, since thousands of them share a processor with the server.
    """

    def __init__(self, seen: Seen, end: float, requests: Sequence[bytes], expected: Sequence[float]) -> None:
        self._seen, self._end = seen, end
        self._requests, self._expected = requests, expected
        self._rows = count()
        self._parser = httptools.HttpResponseParser(self)
        self._asked = time.monotonic()
        self._begin()
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        now, status = time.monotonic(), self._parser.get_status_code()
        self._seen.seconds.setdefault(status, []).append(now - self._asked)
        if not self._is_right(status):
            self._seen.wrong.append(f"{status} {self._headers} {self._body!r}")
        self._begin()
        self._asked = now
        if now < self._end:
            self._ask()
        else:
            self.done.set_result(None)
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self._seen.wrong.append("closed without an answer")
            self.done.set_result(None)

    def _begin(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._body = b""

    def _ask(self) -> None:
        self._row = next(self._rows) % ROWS
        self._transport.write(self._requests[self._row])

    def _is_right(self, status: int) -> bool:
        body = json.loads(self._body)
        if status == 503:
            return self._headers.get(b"retry-after") == b"1" and bool(body["error"]["kind"] == "overloaded")
        close = abs(body.get("churn_probability", 2) - self._expected[self._row]) < 1e-6
        return status == 200 and body["customer_id"] == str(self._row) and close


async def overload(endpoint: Served, requests: Sequence[bytes], expected: Sequence[float], seconds: float) -> Seen:
    seen = Seen()
    url = httpx.URL(endpoint.url)
    servers = processes_of(url.port)
    end = time.monotonic() + seconds

    async def ask() -> None:
        client = Client(seen, end, requests, expected)
        await asyncio.get_running_loop().create_connection(lambda: client, url.host, url.port)
        await client.done

    async def watch(http: aiohttp.ClientSession) -> None:
        while time.monotonic() < end:
            async with http.get("/health") as answer:
                seen.health[answer.status] += 1
            seen.memory.append(sum(server.memory_info().rss for server in servers))
            await asyncio.sleep(0.5)

    async with aiohttp.ClientSession(endpoint.url, timeout=aiohttp.ClientTimeout(total=20)) as http:
        await asyncio.wait_for(asyncio.gather(*(ask() for _ in range(CONNECTIONS)), watch(http)), seconds + 20)
    return seen


def processes_of(port: int | None) -> list[psutil.Process]:
    """Return all processes that have the endpoint's port."""
    holders = {connection.pid for connection in psutil.net_connections("tcp4") if connection.laddr.port == port}
    return [psutil.Process(pid) for pid in holders if pid]


def test_ten_times_the_capacity_is_survived(endpoint: Served, bundle: Bundle) -> None:
    columns = synthetic_columns(ROWS, seed=11)
    expected = bundle.predict(columns).tolist()
    rows = [{name: values[row] for name, values in columns.items()} for row in range(ROWS)]
    bodies = [json.dumps({"customer_id": str(row), "features": features}).encode() for row, features in enumerate(rows)]
    requests = [HEAD.format(size=len(body)).encode() + body for body in bodies]

    seen = asyncio.run(overload(endpoint, requests, expected, SECONDS))
    start = time.monotonic()
    assert endpoint.predict().status_code == 200
    assert time.monotonic() - start < REFUSED_SECONDS

    for status, seconds in seen.seconds.items():
        print(status, len(seconds), "answers; p50, p99, max:", np.quantile(seconds, [0.5, 0.99, 1]).round(3), "s")
    assert seen.wrong == []
    assert set(seen.seconds) == {200, 503}
    # Those of new connections among them, who waited to be accepted.
    assert np.quantile(seen.seconds[503], 0.99) < REFUSED_SECONDS
    assert set(seen.health) == {200}
    # Everything that grows with each request would be seen here: the second half is as large as the first.
    half = len(seen.memory) // 2
    assert max(seen.memory[half:]) < 1.05 * max(seen.memory[:half]) + 10 * 2**20
    assert [endpoint.predict().status_code for _ in range(20)] == [200] * 20
    assert "Traceback" not in endpoint.log.read_text()
