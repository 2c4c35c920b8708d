"""The online store in files of this machine: LMDB, which many processes read while one writes.

It imports little, because it is shipped with the service.
"""

from __future__ import annotations

import datetime as dt
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

from include.local_files import disk_full_errors
from include.logs import get_logger
from include.serving.online_store.base import FORMAT, CustomerFeatures, StoreError
from include.serving.online_store.layout import DAY_BYTES, RowLayout, customer_key, day_prefix, layout_key_of

if TYPE_CHECKING:
    import pyarrow as pa

    from include.serving.online_store.packing import PackedSlice

log = get_logger(__name__)

_DATA_FILE = "data.mdb"
_CUSTOMERS, _META = b"customers", b"meta"
_FORMAT, _LAYOUT, _DAY = b"format", b"layout:", b"day:"
# Reserved addresses, neither disk nor memory: the file grows as it is written, and no reader ever needs a larger map.
_MAP_BYTES = 1 << 40
_MAX_READERS = 512
_MAX_KEY_BYTES = 511
_REACH = "Let this process's user read and write the folder, on a local disk that works."
_REBUILD = "Where it is damaged, remove the folder and run churn_score for the newest day again."


class EmbeddedStore:
    """The store in one folder. A day is one transaction: readers see it wholly or not at all.

    Reading is a look into mapped memory, some microseconds where the file is cached. An object belongs to one thread.

    Args:
        folder: On a local disk: LMDB's locks do not hold on network file systems.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reader: _Reader | None = None

    async def get(self, customer_id: str) -> CustomerFeatures | None:
        """Return the customer's newest features; see ``OnlineStore``."""
        with self._named():
            return self._current().get(customer_key(customer_id))

    def put_day(self, day: dt.date, rows: pa.Table) -> int:
        """Keep the features of ``day``; see ``OnlineStore``."""
        from include.serving.online_store.packing import layout_of, packed_slices  # the service has no Arrow

        layout, written = layout_of(rows), 0
        self._close_reader()  # a process may open the files once
        with (
            self._named(),
            disk_full_errors(str(self._folder)),
            self._opened_to_write() as env,
            env.begin(write=True) as txn,
        ):
            customers, meta = env.open_db(_CUSTOMERS, txn), env.open_db(_META, txn)
            self._require_format(txn.get(_FORMAT, FORMAT, db=meta))
            txn.put(_FORMAT, FORMAT, db=meta)
            txn.put(_LAYOUT + layout.key, layout.model_dump_json().encode(), db=meta)
            again = not txn.put(_DAY + day_prefix(day), b"", overwrite=False, db=meta)
            with txn.cursor(customers) as cursor:
                if again:
                    _take_back(cursor, day)
                for part in packed_slices(day, rows, layout):
                    self._require_keys(part.customers)
                    written += _put_slice(cursor, day, part)
        log.info("online store updated", extra={"day": str(day), "rows": rows.num_rows, "newest": written})
        return written

    async def close(self) -> None:
        """Let go of the files; a later call opens them again."""
        self._close_reader()

    def _current(self) -> _Reader:
        try:
            found = (self._folder / _DATA_FILE).stat()
        except FileNotFoundError:
            self._close_reader()
            raise self._missing() from None
        if self._reader is None or not self._reader.reads(found):
            self._close_reader()
            self._reader = self._opened_to_read(found)
        return self._reader

    def _opened_to_read(self, found: os.stat_result) -> _Reader:
        env = lmdb.open(str(self._folder), map_size=_MAP_BYTES, max_dbs=2, readonly=True, create=False)
        try:
            # Beyond the end of a file, mapped memory is a signal that ends the process.
            if found.st_size < (env.info()["last_pgno"] + 1) * env.stat()["psize"]:
                raise self._error("The file is shorter than it says.", _REBUILD)
            reader = _Reader(env, found)
            self._require_format(reader.format)
        except lmdb.NotFoundError:
            env.close()
            raise self._missing() from None
        except BaseException:
            env.close()
            raise
        return reader

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    @contextmanager
    def _opened_to_write(self) -> Iterator[lmdb.Environment]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o770)
        with lmdb.open(str(self._folder), map_size=_MAP_BYTES, max_dbs=2, max_readers=_MAX_READERS, mode=0o660) as env:
            env.reader_check()  # what readers that were killed still hold would never be used again
            yield env

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise self._error(f"The online store cannot be used: {reason}.", _REACH) from error
        except (lmdb.Error, struct.error, LookupError, ValueError) as error:
            reason = str(error) if isinstance(error, lmdb.Error) else type(error).__name__
            raise self._error(f"The online store cannot be used: {reason}.", _REBUILD) from error

    def _require_format(self, found: bytes | None) -> None:
        if found != FORMAT:
            raise self._error("The online store has a format that this version of the code does not know.", _REBUILD)

    def _require_keys(self, customers: Sequence[bytes]) -> None:
        if not all(0 < len(key) <= _MAX_KEY_BYTES for key in customers):
            raise self._error(
                f"A customer id is empty or longer than {_MAX_KEY_BYTES} bytes.",
                "Refuse such rows by a check in checks.yaml, or keep the store in Redis.",
            )

    def _missing(self) -> StoreError:
        return self._error("There is no online store yet.", "Run churn_score for a day first.")

    def _error(self, what: str, remedy: str) -> StoreError:
        return StoreError(what, where=str(self._folder), remedy=remedy)


class _Reader:
    """The files as one process has opened them to read.

    Args:
        env: The opened environment.
        found: What the file system said about the data file.
    """

    def __init__(self, env: lmdb.Environment, found: os.stat_result) -> None:
        self._env = env
        self._found = found
        self._customers = env.open_db(_CUSTOMERS, create=False)
        self._meta = env.open_db(_META, create=False)
        self._layouts: dict[bytes, RowLayout] = {}
        with env.begin() as txn:
            self.format = txn.get(_FORMAT, db=self._meta)

    def reads(self, found: os.stat_result) -> bool:
        """Return whether these are the files that are there now: they may have been written anew, or cut."""
        mine = self._found
        return (mine.st_dev, mine.st_ino) == (found.st_dev, found.st_ino) and mine.st_size <= found.st_size

    def get(self, key: bytes) -> CustomerFeatures | None:
        """Return the features under ``key``."""
        if not 0 < len(key) <= _MAX_KEY_BYTES:
            return None  # nobody is kept under it
        with self._env.begin() as txn:
            row = txn.get(key, db=self._customers)
            return None if row is None else self._layout(txn, layout_key_of(row)).decode(row)

    def close(self) -> None:
        """Close the files."""
        self._env.close()

    def _layout(self, txn: lmdb.Transaction[bytes], key: bytes) -> RowLayout:
        if key not in self._layouts:
            stored = txn.get(_LAYOUT + key, db=self._meta)
            if stored is None:
                raise LookupError("no such layout")
            self._layouts[key] = RowLayout.model_validate_json(stored)
        return self._layouts[key]


def _take_back(cursor: lmdb.Cursor[bytes], day: dt.date) -> None:
    prefix, found = day_prefix(day), cursor.first()
    while found:
        if cursor.value()[:DAY_BYTES] == prefix:
            cursor.delete()  # which moves to the next
            found = bool(cursor.key())
        else:
            found = cursor.next()


def _put_slice(cursor: lmdb.Cursor[bytes], day: dt.date, part: PackedSlice) -> int:
    prefix = day_prefix(day)
    newer = {key for key, row in cursor.getmulti(part.customers) if row[:DAY_BYTES] > prefix}
    items = [item for item in part.items() if item[0] not in newer]
    cursor.putmulti(items, dupdata=False)
    return len(items)
