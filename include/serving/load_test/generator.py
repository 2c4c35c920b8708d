"""An HTTP load generator in one thread, which uses so little processor time that the server can use the rest.

A general load-testing tool builds and parses each request in Python. On the machine of the endpoint, its own speed
would limit the result. This generator sends prepared bytes through uvloop and parses the responses with httptools. The
load is a closed loop: each connection sends its next request after the last response.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Self, cast
from urllib.parse import urlsplit

import httptools
import numpy as np
import uvloop
from numpy.typing import NDArray

from include.errors import ChurnflowError

# A server on libuv accepts one connection in each turn of its event loop. Under load, the last connection would wait
# for seconds, so all connections are opened before the load.
_ACCEPT_SECONDS = 0.2
_PAUSE_SECONDS = 0.1
_TIMEOUT_CHECK_SECONDS = 0.5


class TargetError(ChurnflowError):
    """The address of an endpoint is not valid."""


@dataclass(frozen=True)
class Target:
    """An HTTP server.

    Attributes:
        host: The host name or IP address.
        port: The port.
        tls: Whether the protocol is HTTPS.
        path: The prefix of all paths, without a slash at its end.
    """

    host: str
    port: int
    tls: bool = False
    path: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return the server at ``url``.

        Raises:
            TargetError: The address does not have the form http://host:port/path or https://host/path.

        Example:
            >>> Target.parse("https://churn.example.com/models/")
            Target(host='churn.example.com', port=443, tls=True, path='/models')
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise TargetError(
                "This is not the address of an endpoint.",
                where=url.rpartition("@")[2],
                remedy="Write it as http://host:port or https://host/path, and set CHURN_SERVING__API_KEY to the key.",
            )
        tls = parts.scheme == "https"
        return cls(parts.hostname, port or (443 if tls else 80), tls, parts.path.rstrip("/"))

    @property
    def url(self) -> str:
        """The address, with its port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}{self.path}"

    def post(self, path: str, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> bytes:
        """Return the bytes of an HTTP/1.1 POST request.

        Args:
            path: The path below the target's prefix.
            body: The body.
            content_type: The media type of the body.
            headers: More headers.
        """
        fields = {
            "Host": self.url.split("/")[2],
            "Content-Type": content_type,
            "Content-Length": str(len(body)),
            **(headers or {}),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"POST {self.path}{path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body


@dataclass(frozen=True)
class Measurement:
    """The latencies and errors of one run.

    Attributes:
        connections: The number of concurrent requests.
        seconds: How long new requests were sent.
        answered_at: When each successful response (2xx) was complete, in seconds since the start, shape (n,).
        latencies: The time from a request's first byte sent to its response's last byte, in seconds, shape (n,).
        errors: The number of failed requests by kind.
        cpu_share: The processor time of the generator's process as a share of one core.
    """

    connections: int
    seconds: float
    answered_at: NDArray[np.float64]
    latencies: NDArray[np.float64]
    errors: dict[str, int]
    cpu_share: float

    @property
    def failed(self) -> int:
        """The number of failed requests."""
        return sum(self.errors.values())

    @property
    def per_second(self) -> float:
        """Successful responses per second during the time in which requests were sent."""
        return float(np.count_nonzero(self.answered_at <= self.seconds)) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """Return a percentile of the latency in milliseconds, by the nearest-rank method.

        A failed request has an infinite latency. Without any response the percentile is infinite.

        Args:
            percent: The percentage of requests with a latency up to the result.

        Example:
            >>> run = Measurement(1, 1.0, np.array([0.1, 0.2, 0.3]), np.array([0.1, 0.1, 0.1]), {"HTTP 503": 1}, 0.1)
            >>> run.percentile_ms(50), run.percentile_ms(99)
            (100.0, inf)
        """
        requests = len(self.latencies) + self.failed
        rank = max(int(np.ceil(requests * percent / 100)), 1)
        if rank > len(self.latencies):
            return float("inf")
        return float(np.partition(self.latencies, rank - 1)[rank - 1]) * 1000

    def timeline(self, buckets: int = 60) -> list[dict[str, Any]]:
        """Return the throughput, and the median and 99th percentile of the latency, over time.

        Args:
            buckets: The largest number of equal time buckets; a bucket lasts at least a second.
        """
        width = max(1.0, self.seconds / buckets)
        bucket = (self.answered_at // width).astype(int)
        return [self._bucket(bucket == number, number * width, width) for number in range(int(self.seconds // width))]

    def _bucket(self, within: NDArray[np.bool_], start: float, width: float) -> dict[str, Any]:
        latencies = self.latencies[within] * 1000
        p50, p99 = np.percentile(latencies, [50, 99]) if len(latencies) else (None, None)
        return {"second": start, "per_second": len(latencies) / width, "p50_ms": p50, "p99_ms": p99}


def generate_load(
    target: Target, requests: Sequence[bytes], connections: int, seconds: float, timeout_seconds: float = 10.0
) -> Measurement:
    """Send requests on all connections for ``seconds``, then wait for the outstanding responses.

    Args:
        target: The server.
        requests: Complete HTTP/1.1 requests, sent in turn; each connection starts at a different request.
        connections: The number of concurrent requests.
        seconds: How long new requests are sent.
        timeout_seconds: The time after which a request without a response has failed; its connection is replaced.
    """
    return uvloop.run(_Load(target, requests, seconds, timeout_seconds).run(connections))


class _Load:
    """One run and its results."""

    def __init__(self, target: Target, requests: Sequence[bytes], seconds: float, timeout_seconds: float) -> None:
        self._target = target
        self._requests = requests
        self._seconds = seconds
        self._timeout_seconds = timeout_seconds
        self._tls = ssl.create_default_context() if target.tls else None
        self.errors: Counter[str] = Counter()
        self.answered_at = array("d")
        self.latencies = array("d")
        self.deadline = 0.0

    async def run(self, connections: int) -> Measurement:
        turns = [islice(cycle(self._requests), i % len(self._requests), None) for i in range(connections)]
        opened = await asyncio.gather(*(self._open(requests) for requests in turns))
        await asyncio.sleep(_ACCEPT_SECONDS)
        cpu, start = time.process_time(), time.perf_counter()
        self.deadline = start + self._seconds
        await asyncio.gather(*map(self._keep_busy, turns, opened))
        return Measurement(
            connections=connections,
            seconds=self._seconds,
            answered_at=np.array(self.answered_at) - start,
            latencies=np.array(self.latencies),
            errors=dict(self.errors),
            cpu_share=(time.process_time() - cpu) / (time.perf_counter() - start),
        )

    async def _keep_busy(self, requests: Iterator[bytes], connection: _Connection | None) -> None:
        while True:
            if connection is not None:
                connection.send()
                await self._until_closed(connection)
            if time.perf_counter() >= self.deadline:
                return
            connection = await self._open(requests)

    async def _open(self, requests: Iterator[bytes]) -> _Connection | None:
        connection = _Connection(self, requests)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, self._target.host, self._target.port, ssl=self._tls
                )
        except OSError as error:  # includes TimeoutError
            self.errors[f"no connection ({type(error).__name__})"] += 1
            await asyncio.sleep(_PAUSE_SECONDS)
            return None
        return connection

    async def _until_closed(self, connection: _Connection) -> None:
        while not connection.closed.done():
            await asyncio.wait([connection.closed], timeout=_TIMEOUT_CHECK_SECONDS)
            if connection.sent_at and time.perf_counter() - connection.sent_at > self._timeout_seconds:
                connection.fail("no answer in time")


class _Connection(asyncio.Protocol):
    """Sends a request, waits for its response, and repeats until the run's deadline or the connection's end."""

    def __init__(self, load: _Load, requests: Iterator[bytes]) -> None:
        self._load = load
        self._requests = requests
        self._parser = httptools.HttpResponseParser(self)
        self.sent_at: float | None = None
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self) -> None:
        """Send the next request; at the run's deadline, close the connection instead."""
        now = time.perf_counter()
        if now >= self._load.deadline or self._transport.is_closing():
            self._transport.close()
            return
        self.sent_at = now
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.fail("not an HTTP answer")

    def on_message_complete(self) -> None:
        now, sent = time.perf_counter(), self.sent_at
        if sent is None:  # the request has timed out
            return
        status = self._parser.get_status_code()
        if 200 <= status < 300:
            self._load.answered_at.append(now)
            self._load.latencies.append(now - sent)
        else:
            self._load.errors[f"HTTP {status}"] += 1
        self.sent_at = None
        if self._parser.should_keep_alive():
            self.send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.sent_at is not None:
            self.sent_at = None
            self._load.errors["connection closed before the answer"] += 1
        self.closed.set_result(None)

    def fail(self, kind: str) -> None:
        """Count the outstanding request as failed, and abort the connection."""
        self._load.errors[kind] += 1
        self.sent_at = None
        self._transport.abort()
