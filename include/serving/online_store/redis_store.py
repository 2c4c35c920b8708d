"""The online store in a Redis server, which several machines share.

It imports little, because it is shipped with the service.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, cast

import redis
import redis.asyncio
from pydantic import SecretStr
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from include.logs import get_logger
from include.serving.online_store.base import FORMAT, CustomerFeatures, StoreError
from include.serving.online_store.layout import RowLayout, customer_key, layout_key_of

if TYPE_CHECKING:
    import pyarrow as pa

log = get_logger(__name__)

_CONNECTIONS = 32
_WRITE_TIMEOUT_SECONDS = 30.0
_KEYS_PER_SCRIPT = 500
"""A script keeps everybody else waiting: so many rows take about a millisecond."""

# Redis runs a script by itself, so that of two writers the one with the later day wins whoever is faster.
_PUT_UNLESS_NEWER = """
local day, width, written = tonumber(ARGV[1]), tonumber(ARGV[2]), 0
for i, key in ipairs(KEYS) do
  local old = redis.call('GETRANGE', key, 0, 3)
  if #old < 4 or struct.unpack('>I4', old) <= day then
    redis.call('SET', key, string.sub(ARGV[3], (i - 1) * width + 1, i * width))
    written = written + 1
  end
end
return written
"""
_DELETE_OF_DAY = """
local day = tonumber(ARGV[1])
for _, key in ipairs(KEYS) do
  local old = redis.call('GETRANGE', key, 0, 3)
  if #old == 4 and struct.unpack('>I4', old) == day then redis.call('DEL', key) end
end
"""


class RedisStore:
    """The store in one Redis database, below a prefix of the project's own.

    A customer's row is replaced as a whole. A day is written in pieces, so that readers meet some customers of the
    new day beside others of the old one for some seconds; a write that was cut short is made whole by writing the day
    again.

    Args:
        url: The server's address; it may hold a password and is never shown.
        project: The project whose customers these are.
        timeout_seconds: How long a ``get`` may take.
    """

    def __init__(self, url: SecretStr, project: str, timeout_seconds: float) -> None:
        self._url = url
        self._prefix = f"churnflow:{project}:"
        self._timeout_seconds = timeout_seconds
        self._client: redis.asyncio.Redis | None = None
        self._layouts: dict[bytes, RowLayout] = {}

    async def get(self, customer_id: str) -> CustomerFeatures | None:
        """Return the customer's newest features; see ``OnlineStore``."""
        with self._named():
            async with asyncio.timeout(self._timeout_seconds):
                client = self._connected()
                found, row = _bytes(await client.mget(self._prefix + "format", self._customer(customer_id)))
                self._require_format(found)
                return None if row is None else (await self._layout(client, layout_key_of(row))).decode(row)

    def put_day(self, day: dt.date, rows: pa.Table) -> int:
        """Keep the features of ``day``; see ``OnlineStore``."""
        from include.serving.online_store.packing import layout_of, packed_slices  # the service has no Arrow

        layout, ordinal, written = layout_of(rows), day.toordinal(), 0
        named: set[bytes] = set()
        with self._named(), self._connected_to_write() as client:
            client.set(self._prefix + "format", FORMAT, nx=True)
            self._require_format(*_bytes([client.get(self._prefix + "format")]))
            client.set(self._layout_name(layout.key), layout.model_dump_json())
            again = not client.sadd(self._prefix + "days", str(day))
            put = client.register_script(_PUT_UNLESS_NEWER)
            start = self._customer("")
            for part in packed_slices(day, rows, layout):
                keys = [start + customer for customer in part.customers]
                named.update(keys if again else ())
                with client.pipeline(transaction=False) as pipeline:
                    for first in range(0, len(keys), _KEYS_PER_SCRIPT):
                        some = slice(first * part.width, (first + _KEYS_PER_SCRIPT) * part.width)
                        put(keys[first : first + _KEYS_PER_SCRIPT], [ordinal, part.width, part.rows[some]], pipeline)
                    written += sum(pipeline.execute())
            if again:
                self._take_back(client, ordinal, named)
        log.info("online store updated", extra={"day": str(day), "rows": rows.num_rows, "newest": written})
        return written

    async def close(self) -> None:
        """Let go of the connections; a later call opens them again."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _customer(self, customer_id: str) -> bytes:
        return f"{self._prefix}customer:".encode() + customer_key(customer_id)

    def _layout_name(self, key: bytes) -> str:
        return f"{self._prefix}layout:{key.hex()}"

    async def _layout(self, client: redis.asyncio.Redis, key: bytes) -> RowLayout:
        if key not in self._layouts:
            stored = await client.get(self._layout_name(key))
            if stored is None:
                raise LookupError("no such layout")
            self._layouts[key] = RowLayout.model_validate_json(stored)
        return self._layouts[key]

    def _connected(self) -> redis.asyncio.Redis:
        if self._client is None:
            pool = redis.asyncio.BlockingConnectionPool.from_url(
                self._url.get_secret_value(),
                max_connections=_CONNECTIONS,
                timeout=self._timeout_seconds,
                socket_timeout=self._timeout_seconds,
                socket_connect_timeout=self._timeout_seconds,
                # A connection that the server has closed meanwhile is opened again, at once.
                retry=Retry(NoBackoff(), 1),
            )
            self._client = redis.asyncio.Redis.from_pool(pool)
        return self._client

    @contextmanager
    def _connected_to_write(self) -> Iterator[redis.Redis]:
        with redis.Redis.from_url(self._url.get_secret_value(), socket_timeout=_WRITE_TIMEOUT_SECONDS) as client:
            yield client

    def _take_back(self, client: redis.Redis, ordinal: int, named: set[bytes]) -> None:
        delete = client.register_script(_DELETE_OF_DAY)
        others = (key for key in client.scan_iter(self._customer("*"), count=10_000) if key not in named)
        while some := list(islice(others, _KEYS_PER_SCRIPT)):
            delete(some, [ordinal])

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError, TimeoutError, ValueError, struct.error, LookupError) as error:
            raise self._error(
                f"The online store does not answer, or holds what cannot be read ({type(error).__name__}).",
                "Check the server and its address; where it answers, delete the keys and run churn_score again.",
            ) from error

    def _require_format(self, found: bytes | None) -> None:
        if found is None:
            raise self._error("There is no online store yet.", "Run churn_score for a day first.")
        if found != FORMAT:
            raise self._error(
                "The online store has a format that this version of the code does not know.",
                "Delete its keys, then run churn_score for the newest day again.",
            )

    def _error(self, what: str, remedy: str) -> StoreError:
        return StoreError(what, where=f"Redis server of CHURN_SERVING__STORE__URL, keys {self._prefix}*", remedy=remedy)


def _bytes(values: Iterable[bytes | str | None]) -> list[bytes | None]:
    # Without decode_responses these are bytes, which the client's types do not say.
    return list(cast("Iterable[bytes | None]", values))
