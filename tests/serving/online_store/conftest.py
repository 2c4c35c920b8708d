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

from include.serving.online_store.base import CustomerFeatures, OnlineStore, open_store
from include.settings import ServingSettings, Settings, StoreSettings


@dataclass(frozen=True)
class RedisServer:
    """A Redis server of the tests' own."""

    url: str
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Start a Redis server that listens on a socket in a folder, and keeps nothing on disk."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    folder = tmp_path_factory.mktemp("redis")
    socket = folder / "redis.sock"
    options = ["--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", "", "--appendonly", "no"]
    server = RedisServer(f"unix://{socket}", subprocess.Popen([program, *options], stdout=subprocess.DEVNULL))
    try:
        _wait_until_it_answers(server)
        yield server
    finally:
        server.process.terminate()
        server.process.wait(timeout=20)


def _wait_until_it_answers(server: RedisServer) -> None:
    retry = Retry(ConstantBackoff(0.05), 200)
    with redis.Redis.from_url(server.url, retry=retry, retry_on_error=[redis.ConnectionError]) as client:
        client.ping()
    assert server.process.poll() is None


@pytest.fixture
def empty_redis(redis_server: RedisServer) -> str:
    """Return the address of the tests' Redis server, with nothing in it."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder of an embedded store."""
    return tmp_path / "online_store"


class Asked:
    """A store, asked without an event loop of the test's own."""

    def __init__(self, store: OnlineStore, runner: asyncio.Runner) -> None:
        self.store = store
        self._runner = runner

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(work)

    def get(self, customer_id: str) -> CustomerFeatures | None:
        return self.run(self.store.get(customer_id))

    def close(self) -> None:
        self.run(self.store.close())


Result = TypeVar("Result")

DAY = dt.date(2026, 3, 1)


def day(offset: int) -> dt.date:
    """Return a day; the larger ``offset``, the later."""
    return DAY + dt.timedelta(days=offset)


def rows_of(values: dict[str, float]) -> pa.Table:
    """Return a gold day of customers with one feature."""
    return pa.table({"customer_id": list(values), "spend": pa.array(values.values(), pa.float64())})


Ask = Callable[[OnlineStore | None], Asked]


@pytest.fixture
def asked() -> Iterator[Ask]:
    """Return what asks a store, and closes it in the end."""
    opened: list[Asked] = []
    with asyncio.Runner() as runner:

        def ask(store: OnlineStore | None) -> Asked:
            assert store is not None
            opened.append(Asked(store, runner))
            return opened[-1]

        yield ask
        for one in opened:
            one.close()


@pytest.fixture(params=["embedded", "redis"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Return settings with a store that nobody has written yet, one for each backend."""
    url = request.getfixturevalue("empty_redis") if request.param == "redis" else ""
    store = StoreSettings(backend=request.param, url=SecretStr(url), timeout_seconds=5)
    return Settings(home=tmp_path, project="synthetic", serving=ServingSettings(store=store))


@pytest.fixture
def store(settings: Settings, asked: Ask) -> Asked:
    """Return the store of ``settings``."""
    return asked(open_store(settings))
