"""The load generator with real sockets: requests, responses and failures."""

from __future__ import annotations

import asyncio

import pytest

from include.serving.load_test.generator import Measurement, Target, generate_load
from tests.serving.conftest import free_port
from tests.serving.load_test.servers import OK, Answer, serving

pytestmark = pytest.mark.slow

SECONDS = 0.3


def load(url: str, *bodies: bytes, connections: int = 2, timeout: float = 60) -> Measurement:
    target = Target.parse(url)
    requests = [target.post("/predict", body, "application/json") for body in bodies or (b"{}",)]
    return generate_load(target, requests, connections, SECONDS, timeout)


async def answer_ok(_: int, writer: asyncio.StreamWriter) -> None:
    writer.write(OK)


def load_on(answer: Answer, **options: float) -> Measurement:
    with serving(answer) as served:
        return load(served.url, **options)  # type: ignore[arg-type]


def test_counts_each_response_once_with_all_connections_busy() -> None:
    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        writer.write(OK)

    with serving(answer) as served:
        run = load(served.url, b"one", b"two", b"three", connections=4)
    assert len(run.latencies) == len(run.answered_at) == len(served.bodies)
    assert run.failed == 0
    assert served.at_once == served.connections == 4
    assert set(served.bodies) == {b"one", b"two", b"three"}
    assert run.latencies.min() >= 0.02
    assert run.percentile_ms(50) >= 20
    assert run.per_second <= 4 / 0.02


def test_waits_for_slow_responses_after_the_end() -> None:
    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(2 * SECONDS)
        writer.write(OK)

    run = load_on(answer)
    assert len(run.latencies) == 2
    assert run.latencies.min() >= 2 * SECONDS
    assert run.per_second == 0


def test_response_in_several_packets_is_one_response() -> None:
    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        for piece in (OK[:10], OK[10:-1], OK[-1:]):
            writer.write(piece)
            await asyncio.sleep(0.001)

    run = load_on(answer)
    assert run.failed == 0
    assert len(run.latencies) > 0


def test_reconnects_after_connection_close_without_an_error() -> None:
    async def answer(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
        writer.close()

    with serving(answer) as served:
        run = load(served.url)
    assert run.failed == 0
    assert len(run.latencies) == len(served.bodies) > 2
    assert served.connections >= len(served.bodies)


async def unavailable_every_second_time(number: int, writer: asyncio.StreamWriter) -> None:
    writer.write(OK if number % 2 else b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")


async def close_without_answer(_: int, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.01)
    writer.close()


async def never_answer(_: int, __: asyncio.StreamWriter) -> None:
    await asyncio.sleep(600)


async def answer_in_another_protocol(_: int, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example.com ESMTP\r\n")


@pytest.mark.parametrize(
    ("answer", "kind", "timeout"),
    [
        (unavailable_every_second_time, "HTTP 503", 60),
        (close_without_answer, "connection closed before the answer", 60),
        (never_answer, "no answer in time", 0.2),
        (answer_in_another_protocol, "not an HTTP answer", 60),
    ],
)
def test_failures_are_counted_by_kind(answer: Answer, kind: str, timeout: float) -> None:
    run = load_on(answer, timeout=timeout)
    assert set(run.errors) == {kind}
    assert run.failed > 0
    assert run.percentile_ms(99) == float("inf")


def test_failed_requests_count_neither_as_responses_nor_as_throughput() -> None:
    with serving(unavailable_every_second_time) as served:
        run = load(served.url, connections=1)
    assert len(run.latencies) + run.errors["HTTP 503"] == len(served.bodies)
    assert abs(len(run.latencies) - run.errors["HTTP 503"]) <= 1


def test_refused_connections_are_counted() -> None:
    run = load(f"http://127.0.0.1:{free_port()}")
    assert set(run.errors) == {"no connection (ConnectionRefusedError)"}
    assert run.per_second == 0
