"""Failures of the Redis server."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable

import pytest
import redis
from pydantic import SecretStr, ValidationError

from include.serving.online_store import CustomerFeatures, StoreError
from include.serving.online_store.base import UnreachableStoreError
from include.serving.online_store.redis_store import RedisStore
from include.serving.online_store.row_format import DAY_BYTES
from include.settings import StoreSettings
from tests.serving.online_store.conftest import DAY, MakeSync, RedisServer, SyncStore, day, rows_of

MakeStore = Callable[[float], SyncStore]

NO_DAY = b"\xff" * DAY_BYTES


@pytest.fixture
def make_store(empty_redis: str, make_sync: MakeSync) -> MakeStore:
    return lambda seconds: make_sync(RedisStore(SecretStr(empty_redis), "synthetic", seconds))


def test_unreachable_server_is_an_error_without_the_password(make_sync: MakeSync) -> None:
    store = make_sync(RedisStore(SecretStr("redis://user:s3cret@127.0.0.1:1/0"), "synthetic", 5.0))
    for act in (lambda: store.get("a"), lambda: store.backend.put_day(DAY, rows_of({"a": 1.0}))):
        with pytest.raises(UnreachableStoreError, match="does not answer") as error:
            act()
        assert "s3cret" not in str(error.value)


def test_refused_password_is_not_retried(make_sync: MakeSync, empty_redis: str) -> None:
    refused = make_sync(RedisStore(SecretStr(empty_redis.replace("://", "://user:s3cret@")), "synthetic", 5.0))
    with pytest.raises(StoreError) as error:
        refused.backend.put_day(DAY, rows_of({"a": 1.0}))
    assert not error.value.can_retry


def test_hanging_server_is_an_error_within_the_timeout(make_store: MakeStore, redis_server: RedisServer) -> None:
    make_store(5.0).backend.put_day(DAY, rows_of({"a": 1.0}))
    hasty, patient = make_store(0.2), make_store(60.0)
    os.kill(redis_server.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreError, match="does not answer"):
            hasty.get("a")
    finally:
        os.kill(redis_server.process.pid, signal.SIGCONT)
    assert patient.get("a") == CustomerFeatures(DAY, {"spend": 1.0})


def test_closed_connection_is_reopened(make_store: MakeStore, empty_redis: str) -> None:
    store = make_store(5.0)
    store.backend.put_day(DAY, rows_of({"a": 1.0}))
    assert store.get("a") is not None
    with redis.Redis.from_url(empty_redis) as client:
        client.client_kill_filter(_type="normal", skipme=True)
        assert store.get("a") == CustomerFeatures(DAY, {"spend": 1.0})


def test_more_requests_than_connections_are_answered(make_store: MakeStore) -> None:
    store = make_store(30.0)
    store.backend.put_day(DAY, rows_of({f"c{i}": float(i) for i in range(300)}))

    async def ask_for_all() -> list[CustomerFeatures | None]:
        return await asyncio.gather(*(store.backend.get(f"c{i}") for i in range(300)))

    assert store.run(ask_for_all()) == [CustomerFeatures(DAY, {"spend": float(i)}) for i in range(300)]


def test_other_format_is_neither_read_nor_written(make_store: MakeStore, empty_redis: str) -> None:
    store = make_store(5.0)
    store.backend.put_day(DAY, rows_of({"a": 1.0}))
    with redis.Redis.from_url(empty_redis) as client:
        client.set("churnflow:synthetic:format", "0")
    with pytest.raises(StoreError, match="format"):
        store.get("a")
    with pytest.raises(StoreError, match="format"):
        store.backend.put_day(day(1), rows_of({"a": 0.0}))
    assert store.backend.is_outdated()
    store.backend.clear()
    assert not store.backend.is_outdated()
    with redis.Redis.from_url(empty_redis) as client:
        assert client.keys("churnflow:synthetic:*") == []


@pytest.mark.parametrize("value", [b"", b"short", bytes(50), NO_DAY])
def test_damaged_row_is_an_error_that_does_not_name_the_customer(
    make_store: MakeStore, empty_redis: str, value: bytes
) -> None:
    store = make_store(5.0)
    store.backend.put_day(DAY, rows_of({"alice": 1.0, "b": 2.0}))
    with redis.Redis.from_url(empty_redis) as client:
        if value == NO_DAY:
            value += client.get("churnflow:synthetic:customer:alice")[len(NO_DAY) :]
        client.set("churnflow:synthetic:customer:alice", value)
    with pytest.raises(StoreError, match="cannot be read") as error:
        store.get("alice")
    assert "alice" not in str(error.value)
    assert store.get("b") == CustomerFeatures(DAY, {"spend": 2.0})


@pytest.mark.parametrize("url", ["", "http://localhost", "localhost:6379"])
def test_redis_backend_requires_a_redis_url(url: str) -> None:
    with pytest.raises(ValidationError, match="begins with redis://"):
        StoreSettings(backend="redis", url=SecretStr(url))
