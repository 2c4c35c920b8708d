from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pytest
import redis
from pydantic import SecretStr
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from include.serving.online_store import CustomerFeatures, OnlineStore, open_store
from include.settings import ServingSettings, Settings, StoreSettings


@dataclass(frozen=True)
class RedisServer:
    """A Redis server that the tests start."""

    url: str
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Start a Redis server that listens on a Unix socket and writes nothing to disk."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    folder = tmp_path_factory.mktemp("redis")
    socket = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", "", "--appendonly", "no"]
    server = RedisServer(f"unix://{socket}", subprocess.Popen([program, *options], stdout=subprocess.DEVNULL))
    try:
        _wait_until_ready(server)
        yield server
    finally:
        server.process.terminate()
        server.process.wait(timeout=20)


def _wait_until_ready(server: RedisServer) -> None:
    retry = Retry(ConstantBackoff(0.05), 200)
    with redis.Redis.from_url(server.url, retry=retry, retry_on_error=[redis.ConnectionError]) as client:
        client.ping()
    assert server.process.poll() is None


@pytest.fixture
def empty_redis(redis_server: RedisServer) -> str:
    """Return the address of the Redis server after removing every key."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of an LMDB store, which does not exist yet."""
    return tmp_path / "online_store"


class SyncStore:
    """A store with synchronous calls."""

    def __init__(self, backend: OnlineStore, runner: asyncio.Runner) -> None:
        self.backend = backend
        self._runner = runner

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(work)

    def get(self, customer_id: str) -> CustomerFeatures | None:
        return self.run(self.backend.get(customer_id))

    def close(self) -> None:
        self.run(self.backend.close())


Result = TypeVar("Result")

DAY = dt.date(2026, 3, 1)


def day(offset: int) -> dt.date:
    """Return the day ``offset`` days after ``DAY``."""
    return DAY + dt.timedelta(days=offset)


def rows_of(values: dict[str, float]) -> pa.Table:
    """Return a gold day of customers with one feature."""
    return pa.table({"customer_id": list(values), "spend": pa.array(values.values(), pa.float64())})


MakeSync = Callable[[OnlineStore | None], SyncStore]


@pytest.fixture
def make_sync() -> Iterator[MakeSync]:
    """Return a function that wraps a store; every wrapped store is closed after the test."""
    opened: list[SyncStore] = []
    with asyncio.Runner() as runner:

        def sync(store: OnlineStore | None) -> SyncStore:
            assert store is not None
            opened.append(SyncStore(store, runner))
            return opened[-1]

        yield sync
        for one in opened:
            one.close()


@pytest.fixture(params=["embedded", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Return settings of an empty store, once for each backend."""
    url = request.getfixturevalue("empty_redis") if request.param == "redis" else ""
    store = StoreSettings(backend=request.param, url=SecretStr(url), timeout_seconds=5)
    return Settings(home=tmp_path, project="synthetic", serving=ServingSettings(store=store))


@pytest.fixture
def store(settings: Settings, make_sync: MakeSync) -> SyncStore:
    """Return the store of ``settings``."""
    return make_sync(open_store(settings))
