"""Load on an HTTP server from one thread, at a cost that leaves the machine to the server.

A general load-test tool builds and parses each request in Python; on a machine that it shares with the endpoint, it
would measure itself as well. Here requests are bytes made beforehand, uvloop moves them, httptools reads the answers.
The loop is closed: every connection sends its next request once the last one is answered.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import cast

import httptools
import numpy as np
import uvloop

from include.serving.load_test.measurement import Measurement
from include.serving.load_test.target import Target

# Servers on libuv accept one connection in each turn of their loop: under load, the last would wait for seconds.
_ACCEPT_SECONDS = 0.2
_PAUSE_SECONDS = 0.1
_SWEEP_SECONDS = 0.5


def generate_load(
    target: Target, requests: Sequence[bytes], connections: int, seconds: float, timeout_seconds: float = 10.0
) -> Measurement:
    """Keep ``connections`` busy for ``seconds``, then wait for the answers that are still owed.

    Args:
        target: The server.
        requests: Whole HTTP/1.1 requests, sent in turn; each connection starts at another one.
        connections: How many requests are on their way at any time.
        seconds: How long new requests are sent.
        timeout_seconds: A request without an answer for so long has failed, and its connection is replaced.
    """
    return uvloop.run(_Load(target, requests, seconds, timeout_seconds).run(connections))


class _Load:
    """One run, and what has been seen in it."""

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
        except OSError as error:  # a timeout is one, too
            self.errors[f"no connection ({type(error).__name__})"] += 1
            await asyncio.sleep(_PAUSE_SECONDS)
            return None
        return connection

    async def _until_closed(self, connection: _Connection) -> None:
        while not connection.closed.done():
            await asyncio.wait([connection.closed], timeout=_SWEEP_SECONDS)
            if connection.waits_since and time.perf_counter() - connection.waits_since > self._timeout_seconds:
                connection.fail("no answer in time")


class _Connection(asyncio.Protocol):
    """Sends a request, waits for its answer, and goes on until the run's deadline or the connection's end."""

    def __init__(self, load: _Load, requests: Iterator[bytes]) -> None:
        self._load = load
        self._requests = requests
        self._parser = httptools.HttpResponseParser(self)
        self.waits_since: float | None = None
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self) -> None:
        """Send the next request; at the run's deadline, close the connection instead."""
        now = time.perf_counter()
        if now >= self._load.deadline or self._transport.is_closing():
            self._transport.close()
            return
        self.waits_since = now
        self._transport.write(next(self._requests))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.fail("not an HTTP answer")

    def on_message_complete(self) -> None:
        now, sent = time.perf_counter(), self.waits_since
        if sent is None:  # given up meanwhile
            return
        status = self._parser.get_status_code()
        if 200 <= status < 300:
            self._load.answered_at.append(now)
            self._load.latencies.append(now - sent)
        else:
            self._load.errors[f"HTTP {status}"] += 1
        self.waits_since = None
        if self._parser.should_keep_alive():
            self.send()
        else:
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if self.waits_since is not None:
            self.waits_since = None
            self._load.errors["connection closed before the answer"] += 1
        self.closed.set_result(None)

    def fail(self, kind: str) -> None:
        """Count the request on its way as failed, and end the connection."""
        self._load.errors[kind] += 1
        self.waits_since = None
        self._transport.abort()
