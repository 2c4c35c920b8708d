"""Admission through ASGI requests; test_overload.py overloads a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.serving.endpoint.admission import Admission, Capacity, EventLoopLag, OverloadedError, body_rules
from include.settings import LimitSettings, ServingSettings

JSON = (b"content-type", b"application/json")
ARROW = (b"content-type", b"application/vnd.apache.arrow.stream")
KIB = 2**10
RULES = body_rules(ServingSettings(max_body_bytes=2 * KIB, max_batch_body_bytes=2**18))


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(await Request(scope, receive).body())(scope, receive, send)


def limits(**values: Any) -> LimitSettings:
    return LimitSettings(**values)


async def send_request(
    app: ASGIApp,
    chunks: Iterable[bytes] = (b"{}",),
    headers: Iterable[tuple[bytes, bytes]] = (JSON,),
    path: str = "/predict",
    disconnects: bool = False,
) -> tuple[int, bytes]:
    """Send one request, and return the status and the body of the response; (0, b"") when there is none."""
    pieces = list(chunks)
    incoming: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": disconnects or number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ] + ([{"type": "http.disconnect"}] if disconnects else [])
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0)

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers), "query_string": b""}
    await app(scope, receive, send)
    return (sent[0]["status"], b"".join(message.get("body", b"") for message in sent)) if sent else (0, b"")


@given(sizes=st.lists(st.integers(0, 3 * KIB), min_size=1, max_size=5))
@settings(max_examples=100, deadline=None)
def test_body_is_passed_on_up_to_the_limit(sizes: list[int]) -> None:
    chunks = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    status, body = asyncio.run(send_request(Admission(echo, RULES, Capacity(limits())), chunks))
    assert (status, body) == (200, b"".join(chunks)) if sum(sizes) <= 2 * KIB else status == 413


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/predict", [JSON], 200),
        ("/predict", [(b"content-type", b"Application/JSON ; charset=utf-8")], 200),
        ("/predict", [ARROW], 415),
        ("/predict", [], 415),
        ("/predict", [JSON, JSON], 415),
        ("/predict", [(b"content-type", b"text/plain"), JSON], 415),
        ("/predict", [JSON, (b"content-encoding", b"gzip")], 415),
        ("/predict", [(b"content-type", b"application/jsonp")], 415),
        ("/predict_batch", [JSON], 200),
        ("/predict_batch", [ARROW], 200),
        ("/predict_batch", [(b"content-type", b"text/csv")], 415),
        ("/elsewhere", [], 200),
    ],
)
def test_path_accepts_only_its_content_types(path: str, headers: list[tuple[bytes, bytes]], status: int) -> None:
    assert (
        asyncio.run(send_request(Admission(echo, RULES, Capacity(limits())), headers=headers, path=path))[0] == status
    )


def test_batches_have_a_separate_size_limit() -> None:
    admission = Admission(echo, RULES, Capacity(limits()))
    assert asyncio.run(send_request(admission, [b"x" * 2**18], path="/predict_batch"))[0] == 200
    assert asyncio.run(send_request(admission, [b"x" * 2**18, b"x"], path="/predict_batch"))[0] == 413


def test_incomplete_body_is_not_passed_on() -> None:
    async def never(*_: object) -> None:
        raise AssertionError("an incomplete body was passed on")

    assert asyncio.run(send_request(Admission(never, RULES, Capacity(limits())), [b'{"a": '], disconnects=True)) == (
        0,
        b"",
    )


class Held:
    """An application whose responses wait for an event, and then fail when ``fails`` is set."""

    def __init__(self, fails: bool = False) -> None:
        self.waiting = 0
        self.fails = fails
        self.released = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.waiting += 1
        await self.released.wait()
        if self.fails:
            raise RuntimeError
        await Response(b"done")(scope, receive, send)


def test_slow_response_becomes_a_503() -> None:
    async def scenario() -> None:
        capacity = Capacity(limits())
        admission = Admission(Held(), RULES, capacity, response_seconds=0.05)
        assert (await send_request(admission))[0] == 503
        assert capacity.in_flight_left == limits().in_flight

    asyncio.run(scenario())


def test_cancelled_request_gets_503() -> None:
    async def scenario() -> None:
        capacity = Capacity(limits())
        (task,) = await begin(Admission(Held(), RULES, capacity), [1])
        task.cancel()
        assert (await task)[0] == 503
        assert capacity.in_flight_left == limits().in_flight

    asyncio.run(scenario())


async def begin(admission: Admission, sizes: Iterable[int]) -> list[asyncio.Task[tuple[int, bytes]]]:
    """Start a batch of each size, each after the batch before it waits for the event."""
    tasks = []
    for size in sizes:
        tasks.append(asyncio.create_task(send_request(admission, [b"x" * size], path="/predict_batch")))
        for _ in range(3):
            await asyncio.sleep(0)
    return tasks


def test_requests_beyond_the_capacity_get_503() -> None:
    async def scenario() -> None:
        held = Held()
        admission = Admission(held, RULES, Capacity(limits(in_flight=3)))
        tasks = await begin(admission, [1] * 10)
        assert [task.result()[0] for task in tasks if task.done()] == [503] * 7
        assert b'"kind":"overloaded"' in (await send_request(admission))[1]
        assert (await send_request(admission, path="/model"))[0] == 503
        health = asyncio.create_task(send_request(admission, path="/health"))
        held.released.set()
        assert (await health)[0] == 200
        assert [(await task)[0] for task in tasks[:3]] == [200] * 3
        assert (await send_request(admission))[0] == 200

    asyncio.run(scenario())


@given(
    sizes=st.lists(st.integers(0, 4 * 64 * KIB), max_size=12),
    in_flight=st.integers(1, 8),
    body_bytes=st.integers(2**20, 2**21),
    fails=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_requests_in_progress_stay_within_the_capacity_and_return_it(
    sizes: list[int], in_flight: int, body_bytes: int, fails: bool
) -> None:
    async def scenario() -> None:
        held = Held(fails)
        capacity = Capacity(limits(in_flight=in_flight, body_bytes=body_bytes))
        tasks = await begin(Admission(held, RULES, capacity), sizes)
        working = [size for size, task in zip(sizes, tasks, strict=True) if not task.done()]
        weights = [1 + size // (64 * KIB) for size in working]
        assert len(working) == held.waiting
        assert sum(weights) <= in_flight or len(weights) == 1
        assert sum(working) <= body_bytes
        assert bool(working) == bool(sizes)
        held.released.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (capacity.in_flight_left, capacity.body_bytes_left) == (in_flight, body_bytes)

    asyncio.run(scenario())


def test_bodies_that_are_arriving_take_memory_but_no_units() -> None:
    async def scenario() -> None:
        capacity = Capacity(limits(in_flight=2, body_bytes=2**20))
        admission = Admission(echo, RULES, capacity)
        arriving = asyncio.Event()

        async def trickle() -> None:
            begun: list[Message] = [{"type": "http.request", "body": b"x" * 100, "more_body": True}]

            async def receive() -> Message:
                if begun:
                    return begun.pop()
                await arriving.wait()
                return {"type": "http.disconnect"}

            async def send(_: Message) -> None:
                raise AssertionError("a response to a client that has disconnected")

            scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [JSON], "query_string": b""}
            await admission(scope, receive, send)

        tasks = [asyncio.create_task(trickle()) for _ in range(50)]
        await asyncio.sleep(0)
        assert capacity.body_bytes_left == 2**20 - 50 * 100
        assert (await send_request(admission))[0] == 200
        arriving.set()
        await asyncio.gather(*tasks)
        assert capacity.body_bytes_left == 2**20

    asyncio.run(scenario())


def test_bodies_beyond_the_memory_get_503() -> None:
    async def scenario() -> None:
        held = Held()
        tasks = await begin(Admission(held, RULES, Capacity(limits(body_bytes=2**20))), [2**18] * 5)
        assert [task.done() for task in tasks] == [False] * 4 + [True]
        assert tasks[-1].result()[0] == 503
        held.released.set()
        assert [(await task)[0] for task in tasks[:4]] == [200] * 4

    asyncio.run(scenario())


class Clock:
    """A replacement of ``time.monotonic``, for the event loop too."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    async def turn(self, seconds: float) -> None:
        """Advance the clock by ``seconds`` in one turn of the event loop."""
        self.now += seconds
        for _ in range(3):
            await asyncio.sleep(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_event_loop_lag_gets_503_until_it_is_over(clock: Clock) -> None:
    async def scenario() -> None:
        admission = Admission(echo, RULES, Capacity(limits(event_loop_lag_seconds=0.1)))
        statuses = []
        for seconds in (0, 0.3, 0.3, 0.3, 0.3, 0.05):
            await clock.turn(seconds)
            statuses.append((await send_request(admission))[0])
        assert statuses == [200, 200, 200, 200, 503, 200]

    asyncio.run(scenario())


def test_one_long_turn_of_the_event_loop_gets_no_503(clock: Clock) -> None:
    async def scenario() -> None:
        lag = EventLoopLag()
        lags = [lag.seconds()]
        for seconds in (0.05, 10, 0.05):
            await clock.turn(seconds)
            lags.append(lag.seconds())
        assert lags == pytest.approx([0] * 4)

    asyncio.run(scenario())


def test_503_has_retry_after() -> None:
    assert OverloadedError().response.headers["Retry-After"] == "1"
