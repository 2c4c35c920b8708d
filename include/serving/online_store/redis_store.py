"""The online store in a Redis server, which several machines share."""

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
from include.serving.online_store.base import FORMAT, UPGRADE, CustomerFeatures, StoreError, UnreachableStoreError
from include.serving.online_store.row_format import RowLayout, customer_key, encode_rows, layout_key_of, layout_of

if TYPE_CHECKING:
    import pyarrow as pa

log = get_logger(__name__)

_CONNECTIONS = 32
_NO_ANSWER = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError, OSError, TimeoutError)
"""A server is read-only during a change of the primary server."""
_REFUSED = (redis.AuthenticationError, redis.exceptions.AuthorizationError)
_WRITE_TIMEOUT_SECONDS = 30.0
_KEYS_PER_SCRIPT = 500
"""A script blocks the server; this many rows take about a millisecond."""

# A script is atomic: if two processes write concurrently, the rows of the later day stay.
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
    """The store in one Redis database, under a key prefix with the project's name.

    A row is replaced atomically, but a day is not: while a day is written, for some seconds, readers get new rows of
    some customers and old rows of others. Writing the day again completes an interrupted write.

    Args:
        url: The server's address. It may contain a password and never appears in a message.
        project: The project of the customers.
        timeout_seconds: The timeout of ``get``.
    """

    def __init__(self, url: SecretStr, project: str, timeout_seconds: float) -> None:
        self._url = url
        self._prefix = f"churnflow:{project}:"
        self._timeout_seconds = timeout_seconds
        self._client: redis.asyncio.Redis | None = None
        self._layouts: dict[bytes, RowLayout] = {}

    async def get(self, customer_id: str) -> CustomerFeatures | None:
        """Return the customer's newest features; see ``OnlineStore``."""
        with self._store_errors():
            async with asyncio.timeout(self._timeout_seconds):
                client = self._open_client()
                found, row = _bytes(await client.mget(self._prefix + "format", self._customer(customer_id)))
                self._require_format(found)
                return None if row is None else (await self._layout(client, layout_key_of(row))).decode(row)

    def put_day(self, day: dt.date, rows: pa.Table) -> int:
        """Store the features of ``day``.

        Args:
            day: The day of the rows.
            rows: Rows of ``gold/features``; see ``OnlineStore``.
        """
        layout, ordinal, written = layout_of(rows), day.toordinal(), 0
        kept: set[bytes] = set()
        with self._store_errors(), self._open_to_write() as client:
            client.set(self._prefix + "format", FORMAT, nx=True)
            self._require_format(*_bytes([client.get(self._prefix + "format")]))
            client.set(self._layout_name(layout.key), layout.model_dump_json())
            is_repeated = not client.sadd(self._prefix + "days", str(day))
            put = client.register_script(_PUT_UNLESS_NEWER)
            start = self._customer("")
            for part in encode_rows(day, rows, layout):
                keys = [start + customer for customer in part.customers]
                kept.update(keys if is_repeated else ())
                with client.pipeline(transaction=False) as pipeline:
                    for first in range(0, len(keys), _KEYS_PER_SCRIPT):
                        some = slice(first * part.width, (first + _KEYS_PER_SCRIPT) * part.width)
                        put(keys[first : first + _KEYS_PER_SCRIPT], [ordinal, part.width, part.rows[some]], pipeline)
                    written += sum(pipeline.execute())
            if is_repeated:
                self._delete_day(client, ordinal, kept)
        log.info("online store updated", extra={"day": str(day), "rows": rows.num_rows, "newest": written})
        return written

    def contains(self, customer_id: str) -> bool:
        """Return whether there is a row of a customer."""
        with self._store_errors(), self._open_to_write() as client:
            return bool(client.exists(self._customer(customer_id)))

    def erase(self, customer_id: str) -> bool:
        """Delete the row of a customer; see ``OnlineStore``."""
        with self._store_errors(), self._open_to_write() as client:
            return bool(client.delete(self._customer(customer_id)))

    def is_outdated(self) -> bool:
        """Return whether another release wrote the store; False if there is none."""
        with self._store_errors(), self._open_to_write() as client:
            return client.get(self._prefix + "format") not in (None, FORMAT)

    def clear(self) -> None:
        """Delete all keys of the project, that with the format last, so that an interrupted deletion is repeated."""
        with self._store_errors(), self._open_to_write() as client:
            for key in client.scan_iter(self._prefix + "?*", count=10_000):
                if key != f"{self._prefix}format".encode():
                    client.delete(key)
            client.delete(self._prefix + "format")

    async def close(self) -> None:
        """Close the connections; a later call opens them again."""
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
                raise LookupError("unknown layout")
            self._layouts[key] = RowLayout.model_validate_json(stored)
        return self._layouts[key]

    def _open_client(self) -> redis.asyncio.Redis:
        if self._client is None:
            pool = redis.asyncio.BlockingConnectionPool.from_url(
                self._url.get_secret_value(),
                max_connections=_CONNECTIONS,
                timeout=self._timeout_seconds,
                socket_timeout=self._timeout_seconds,
                socket_connect_timeout=self._timeout_seconds,
                # Reopens a connection that the server has closed in the meantime.
                retry=Retry(NoBackoff(), 1),
            )
            self._client = redis.asyncio.Redis.from_pool(pool)
        return self._client

    @contextmanager
    def _open_to_write(self) -> Iterator[redis.Redis]:
        with redis.Redis.from_url(self._url.get_secret_value(), socket_timeout=_WRITE_TIMEOUT_SECONDS) as client:
            yield client

    def _delete_day(self, client: redis.Redis, ordinal: int, kept: set[bytes]) -> None:
        delete = client.register_script(_DELETE_OF_DAY)
        others = (key for key in client.scan_iter(self._customer("*"), count=10_000) if key not in kept)
        while some := list(islice(others, _KEYS_PER_SCRIPT)):
            delete(some, [ordinal])

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError, TimeoutError, ValueError, struct.error, LookupError) as error:
            # redis-py derives these errors from ConnectionError.
            transient = isinstance(error, _NO_ANSWER) and not isinstance(error, _REFUSED)
            kind = UnreachableStoreError if transient else StoreError
            raise self._error(
                f"The online store does not answer, or contains data that cannot be read ({type(error).__name__}).",
                "Check the server and its address; if the server answers, delete the keys and run churn_score again.",
                kind,
            ) from error

    def _require_format(self, found: bytes | None) -> None:
        if found is None:
            raise self._error("There is no online store yet.", "Run churn_score for a day first.")
        if found != FORMAT:
            raise self._error(
                "The online store has a format that this version of the code does not support.",
                UPGRADE,
            )

    def _error(self, what: str, remedy: str, kind: type[StoreError] = StoreError) -> StoreError:
        return kind(what, where=f"Redis server of CHURN_SERVING__STORE__URL, keys {self._prefix}*", remedy=remedy)


def _bytes(values: Iterable[bytes | str | None]) -> list[bytes | None]:
    # Without decode_responses the client returns bytes; its types do not state this.
    return list(cast("Iterable[bytes | None]", values))
