"""Bodies and capacity, through real ASGI requests; test_overload.py asks the real server."""

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

from include.serving.endpoint.guard import RequestGuard, body_rules
from include.serving.endpoint.overload import Capacity, EventLoopLag, OverloadedError
from include.settings import LimitSettings, ServingSettings

JSON = (b"content-type", b"application/json")
ARROW = (b"content-type", b"application/vnd.apache.arrow.stream")
KIB = 2**10
RULES = body_rules(ServingSettings(max_body_bytes=2 * KIB, max_batch_body_bytes=2**18))


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(await Request(scope, receive).body())(scope, receive, send)


def limits(**values: Any) -> LimitSettings:
    return LimitSettings(**values)


async def ask(
    app: ASGIApp,
    chunks: Iterable[bytes] = (b"{}",),
    headers: Iterable[tuple[bytes, bytes]] = (JSON,),
    path: str = "/predict",
    leaves: bool = False,
) -> tuple[int, bytes]:
    """Send one request and return the status and the body of the answer; (0, b"") where there is none."""
    pieces = list(chunks)
    incoming: list[Message] = [
        {"type": "http.request", "body": piece, "more_body": leaves or number < len(pieces)}
        for number, piece in enumerate(pieces, 1)
    ] + ([{"type": "http.disconnect"}] if leaves else [])
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
def test_body_passes_whole_up_to_the_limit_and_never_beyond(sizes: list[int]) -> None:
    chunks = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    status, body = asyncio.run(ask(RequestGuard(echo, RULES, Capacity(limits())), chunks))
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
def test_content_type_counts_by_path(path: str, headers: list[tuple[bytes, bytes]], status: int) -> None:
    assert asyncio.run(ask(RequestGuard(echo, RULES, Capacity(limits())), headers=headers, path=path))[0] == status


def test_batches_have_a_limit_of_their_own() -> None:
    guard = RequestGuard(echo, RULES, Capacity(limits()))
    assert asyncio.run(ask(guard, [b"x" * 2**18], path="/predict_batch"))[0] == 200
    assert asyncio.run(ask(guard, [b"x" * 2**18, b"x"], path="/predict_batch"))[0] == 413


def test_client_that_leaves_is_not_answered_and_not_passed_on() -> None:
    async def never(*_: object) -> None:
        raise AssertionError("half a body was passed on")

    assert asyncio.run(ask(RequestGuard(never, RULES, Capacity(limits())), [b'{"a": '], leaves=True)) == (0, b"")


class Held:
    """An application whose answers wait until they are let go, and fail when they should."""

    def __init__(self, fails: bool = False) -> None:
        self.waiting = 0
        self.fails = fails
        self.let_go = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.waiting += 1
        await self.let_go.wait()
        if self.fails:
            raise RuntimeError
        await Response(b"answered")(scope, receive, send)


def test_an_answer_that_takes_too_long_is_given_up() -> None:
    async def scenario() -> None:
        capacity = Capacity(limits())
        guard = RequestGuard(Held(), RULES, capacity, answer_seconds=0.05)
        assert (await ask(guard))[0] == 503
        assert capacity.in_flight_left == limits().in_flight

    asyncio.run(scenario())


def test_an_answer_that_a_server_gives_up_since_it_stops_may_be_asked_for_again() -> None:
    async def scenario() -> None:
        capacity = Capacity(limits())
        (task,) = await begin(RequestGuard(Held(), RULES, capacity), [1])
        task.cancel()
        assert (await task)[0] == 503
        assert capacity.in_flight_left == limits().in_flight

    asyncio.run(scenario())


async def begin(guard: RequestGuard, sizes: Iterable[int]) -> list[asyncio.Task[tuple[int, bytes]]]:
    """Begin a batch of each size, one after the other, each as far as it gets."""
    tasks = []
    for size in sizes:
        tasks.append(asyncio.create_task(ask(guard, [b"x" * size], path="/predict_batch")))
        for _ in range(3):
            await asyncio.sleep(0)
    return tasks


def test_more_than_the_capacity_is_told_to_come_again() -> None:
    async def scenario() -> None:
        held = Held()
        guard = RequestGuard(held, RULES, Capacity(limits(in_flight=3)))
        tasks = await begin(guard, [1] * 10)
        assert [task.result()[0] for task in tasks if task.done()] == [503] * 7
        assert b'"kind":"overloaded"' in (await ask(guard))[1]
        assert (await ask(guard, path="/model"))[0] == 503
        health = asyncio.create_task(ask(guard, path="/health"))
        held.let_go.set()
        assert (await health)[0] == 200
        assert [(await task)[0] for task in tasks[:3]] == [200] * 3
        assert (await ask(guard))[0] == 200

    asyncio.run(scenario())


@given(
    sizes=st.lists(st.integers(0, 4 * 64 * KIB), max_size=12),
    in_flight=st.integers(1, 8),
    body_bytes=st.integers(2**20, 2**21),
    fails=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_what_is_in_work_stays_within_the_limits_and_all_of_it_comes_back(
    sizes: list[int], in_flight: int, body_bytes: int, fails: bool
) -> None:
    async def scenario() -> None:
        held = Held(fails)
        capacity = Capacity(limits(in_flight=in_flight, body_bytes=body_bytes))
        tasks = await begin(RequestGuard(held, RULES, capacity), sizes)
        working = [size for size, task in zip(sizes, tasks, strict=True) if not task.done()]
        weights = [1 + size // (64 * KIB) for size in working]
        assert len(working) == held.waiting
        assert sum(weights) <= in_flight or len(weights) == 1
        assert sum(working) <= body_bytes
        assert bool(working) == bool(sizes)
        held.let_go.set()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (capacity.in_flight_left, capacity.body_bytes_left) == (in_flight, body_bytes)

    asyncio.run(scenario())


def test_bodies_that_still_arrive_take_memory_only() -> None:
    async def scenario() -> None:
        capacity = Capacity(limits(in_flight=2, body_bytes=2**20))
        guard = RequestGuard(echo, RULES, capacity)
        arriving = asyncio.Event()

        async def trickle() -> None:
            begun: list[Message] = [{"type": "http.request", "body": b"x" * 100, "more_body": True}]

            async def receive() -> Message:
                if begun:
                    return begun.pop()
                await arriving.wait()
                return {"type": "http.disconnect"}

            async def send(_: Message) -> None:
                raise AssertionError("nobody is there to hear it")

            scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [JSON], "query_string": b""}
            await guard(scope, receive, send)

        tasks = [asyncio.create_task(trickle()) for _ in range(50)]
        await asyncio.sleep(0)
        assert capacity.body_bytes_left == 2**20 - 50 * 100
        assert (await ask(guard))[0] == 200
        arriving.set()
        await asyncio.gather(*tasks)
        assert capacity.body_bytes_left == 2**20

    asyncio.run(scenario())


def test_bodies_beyond_the_memory_are_told_to_come_again() -> None:
    async def scenario() -> None:
        held = Held()
        tasks = await begin(RequestGuard(held, RULES, Capacity(limits(body_bytes=2**20))), [2**18] * 5)
        assert [task.done() for task in tasks] == [False] * 4 + [True]
        assert tasks[-1].result()[0] == 503
        held.let_go.set()
        assert [(await task)[0] for task in tasks[:4]] == [200] * 4

    asyncio.run(scenario())


def block(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_an_event_loop_that_stays_late_takes_nothing_on_until_it_is_not() -> None:
    async def scenario() -> None:
        guard = RequestGuard(echo, RULES, Capacity(limits(event_loop_lag_seconds=0.1)))
        assert (await ask(guard))[0] == 200
        # Every turn of the loop is long, as with a queue that never empties.
        statuses = []
        while 503 not in statuses and len(statuses) < 100:
            block(0.3)
            await asyncio.sleep(0)
            statuses.append((await ask(guard))[0])
        assert 503 in statuses
        while (await ask(guard))[0] == 503:
            await asyncio.sleep(0.01)

    asyncio.run(scenario())


def test_one_long_turn_is_no_overload() -> None:
    async def scenario() -> None:
        lag = EventLoopLag()
        assert lag.seconds() == 0
        await asyncio.sleep(0.06)
        block(1.0)
        await asyncio.sleep(0.01)
        assert lag.seconds() < 1.0

    asyncio.run(scenario())


def test_overload_says_when_to_come_again() -> None:
    assert OverloadedError().response.headers["Retry-After"] == "1"
