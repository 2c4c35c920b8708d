"""The online store in LMDB files on a local disk, which many processes read while one process writes."""

from __future__ import annotations

import datetime as dt
import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb
from filelock import FileLock

from include.local_files import disk_full_errors
from include.logs import get_logger
from include.serving.online_store.base import FORMAT, UPGRADE, CustomerFeatures, StoreError
from include.serving.online_store.row_format import (
    DAY_BYTES,
    RowLayout,
    RowSlice,
    customer_key,
    day_prefix,
    encode_rows,
    layout_key_of,
    layout_of,
)

if TYPE_CHECKING:
    import pyarrow as pa

log = get_logger(__name__)

_DATA_FILE = "data.mdb"
_NEW_FOLDER, _WRITE_LOCK = "new", "write.lock"
_CUSTOMERS, _META = b"customers", b"meta"
_FORMAT, _PROJECT, _LAYOUT, _DAY = b"format", b"project", b"layout:", b"day:"
# Reserves address space, but no disk space and no memory: the file grows when it is written.
_MAP_BYTES = 1 << 40
_MAX_READERS = 512
_MAX_KEY_BYTES = 511
_CHECK_ACCESS = "Give this process's user read and write access to the folder, on a working local disk."
_REBUILD = "If it is damaged or of another project, remove the folder and run churn_score for the newest day again."


class LmdbStore:
    """The store in one folder. A day is one transaction: readers get the whole day or nothing of it.

    A read is a lookup in mapped memory and takes microseconds when the file is cached. Use an object in one thread.

    Args:
        folder: A folder on a local disk; LMDB's locks do not work on network file systems.
        project: The project of the customers, which is stored in the file.
    """

    def __init__(self, folder: Path, project: str) -> None:
        self._folder = folder
        self._project = project.encode()
        self._reader: _Reader | None = None

    async def get(self, customer_id: str) -> CustomerFeatures | None:
        """Return the customer's newest features; see ``OnlineStore``."""
        with self._store_errors():
            return self._current_reader().get(customer_key(customer_id))

    def put_day(self, day: dt.date, rows: pa.Table) -> int:
        """Store the features of ``day``.

        Args:
            day: The day of the rows.
            rows: Rows of ``gold/features``; see ``OnlineStore``.
        """
        layout, written = layout_of(rows), 0
        self._close_reader()  # LMDB allows one open environment per process and file
        with (
            self._store_errors(),
            disk_full_errors(str(self._folder)),
            self._open_to_write() as env,
            env.begin(write=True) as txn,
        ):
            customers, meta = env.open_db(_CUSTOMERS, txn), env.open_db(_META, txn)
            self._require_own(txn.get(_FORMAT, FORMAT, db=meta), txn.get(_PROJECT, self._project, db=meta))
            txn.put(_FORMAT, FORMAT, db=meta)
            txn.put(_PROJECT, self._project, db=meta)
            txn.put(_LAYOUT + layout.key, layout.model_dump_json().encode(), db=meta)
            is_repeated = not txn.put(_DAY + day_prefix(day), b"", overwrite=False, db=meta)
            with txn.cursor(customers) as cursor:
                if is_repeated:
                    _delete_day(cursor, day)
                for part in encode_rows(day, rows, layout):
                    self._require_valid_keys(part.customers)
                    written += _put_slice(cursor, day, part)
        log.info("online store updated", extra={"day": str(day), "rows": rows.num_rows, "newest": written})
        return written

    def contains(self, customer_id: str) -> bool:
        """Return whether there is a row of a customer."""
        if not (self._folder / _DATA_FILE).exists():
            return False
        try:
            with self._store_errors():
                return self._current_reader().get(customer_key(customer_id)) is not None
        finally:
            self._close_reader()

    def erase(self, customer_id: str) -> bool:
        """Delete the row of a customer, and write the file again, since LMDB keeps the bytes of deleted rows.

        Args:
            customer_id: The customer.
        """
        self._close_reader()
        if not (self._folder / _DATA_FILE).exists():
            return False
        with self._store_errors(), disk_full_errors(str(self._folder)), self._open_to_write() as env:
            with env.begin(write=True) as txn:
                found = txn.delete(customer_key(customer_id), db=env.open_db(_CUSTOMERS, txn))
            self._write_again(env)
        return bool(found)

    def is_outdated(self) -> bool:
        """Return whether another release wrote the store; no file changes, not even the lock file."""
        self._close_reader()
        if not (self._folder / _DATA_FILE).exists():
            return False
        with (
            self._store_errors(),
            lmdb.open(
                str(self._folder), map_size=_MAP_BYTES, max_dbs=2, readonly=True, create=False, lock=False
            ) as env,
            env.begin() as txn,
        ):
            return bool(txn.get(_FORMAT, db=env.open_db(_META, txn, create=False)) != FORMAT)

    def clear(self) -> None:
        """Delete the store."""
        self._close_reader()
        with self._store_errors(), FileLock(self._folder / _WRITE_LOCK, mode=0o660):
            (self._folder / _DATA_FILE).unlink(missing_ok=True)

    async def close(self) -> None:
        """Close the files; a later call opens them again."""
        self._close_reader()

    def _write_again(self, env: lmdb.Environment) -> None:
        """Replace the file by a new file with the same rows. Readers open the new file at their next read."""
        folder = self._folder / _NEW_FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        databases = {name: env.open_db(name) for name in (_CUSTOMERS, _META)}
        with lmdb.open(str(folder), map_size=_MAP_BYTES, max_dbs=2, mode=0o660, sync=False) as copy:
            with env.begin() as old, copy.begin(write=True) as new:
                for name, database in databases.items():
                    with old.cursor(database) as rows, new.cursor(copy.open_db(name, new)) as target:
                        target.putmulti(rows, append=True)
            # Processes with the old file open share the lock file, which has the number of the last transaction.
            while copy.info()["last_txnid"] < env.info()["last_txnid"]:
                with copy.begin(write=True) as new:
                    new.put(_FORMAT, FORMAT, db=copy.open_db(_META, new))
            copy.sync(True)
        (folder / _DATA_FILE).replace(self._folder / _DATA_FILE)
        shutil.rmtree(folder)

    def _current_reader(self) -> _Reader:
        try:
            status = (self._folder / _DATA_FILE).stat()
        except FileNotFoundError:
            self._close_reader()
            raise self._missing() from None
        if self._reader is None or not self._reader.is_current(status):
            self._close_reader()
            self._reader = self._open_to_read(status)
        return self._reader

    def _open_to_read(self, status: os.stat_result) -> _Reader:
        env = lmdb.open(str(self._folder), map_size=_MAP_BYTES, max_dbs=2, readonly=True, create=False)
        try:
            # Reading mapped memory beyond the end of the file would end the process with SIGBUS.
            if status.st_size < (env.info()["last_pgno"] + 1) * env.stat()["psize"]:
                raise self._error("The file is shorter than its header states.", _REBUILD)
            reader = _Reader(env, status)
            self._require_own(reader.format, reader.project)
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
    def _open_to_write(self) -> Iterator[lmdb.Environment]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o770)
        # LMDB's own lock does not prevent a write into a file that is being replaced.
        with (
            FileLock(self._folder / _WRITE_LOCK, mode=0o660),
            lmdb.open(str(self._folder), map_size=_MAP_BYTES, max_dbs=2, max_readers=_MAX_READERS, mode=0o660) as env,
        ):
            env.reader_check()  # frees the reader slots of killed processes
            yield env

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise self._error(f"The online store cannot be used: {reason}.", _CHECK_ACCESS) from error
        except (lmdb.Error, struct.error, LookupError, ValueError) as error:
            # The text of other errors may contain a stored value.
            reason = str(error) if isinstance(error, lmdb.Error) else type(error).__name__
            raise self._error(f"The online store cannot be used: {reason}.", _REBUILD) from error

    def _require_own(self, form: bytes | None, project: bytes | None) -> None:
        if form != FORMAT:
            raise self._error("The online store has a format that this version of the code does not support.", UPGRADE)
        if project != self._project:
            owner = f"project {project.decode()!r}" if project else "an unknown project"
            raise self._error(f"The online store belongs to {owner}.", _REBUILD)

    def _require_valid_keys(self, customers: Sequence[bytes]) -> None:
        if not all(0 < len(key) <= _MAX_KEY_BYTES for key in customers):
            raise self._error(
                f"A customer id is empty or longer than {_MAX_KEY_BYTES} bytes.",
                "Refuse such rows with a check in checks.yaml, or use Redis as the store.",
            )

    def _missing(self) -> StoreError:
        return self._error("There is no online store yet.", "Run churn_score for a day first.")

    def _error(self, what: str, remedy: str) -> StoreError:
        return StoreError(what, where=str(self._folder), remedy=remedy)


class _Reader:
    """An environment that is open for reading.

    Args:
        env: The environment.
        status: The status of the data file when it was opened.
    """

    def __init__(self, env: lmdb.Environment, status: os.stat_result) -> None:
        self._env = env
        self._status = status
        self._customers = env.open_db(_CUSTOMERS, create=False)
        self._meta = env.open_db(_META, create=False)
        self._layouts: dict[bytes, RowLayout] = {}
        with env.begin() as txn:
            self.format, self.project = (txn.get(key, db=self._meta) for key in (_FORMAT, _PROJECT))

    def is_current(self, status: os.stat_result) -> bool:
        """Return whether the open file is the file with ``status``; False if it was replaced or truncated."""
        mine = self._status
        return (mine.st_dev, mine.st_ino) == (status.st_dev, status.st_ino) and mine.st_size <= status.st_size

    def get(self, key: bytes) -> CustomerFeatures | None:
        """Return the features under ``key``; None when there are none."""
        if not 0 < len(key) <= _MAX_KEY_BYTES:
            return None  # put_day refuses such keys
        with self._env.begin() as txn:
            row = txn.get(key, db=self._customers)
            return None if row is None else self._layout(txn, layout_key_of(row)).decode(row)

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def _layout(self, txn: lmdb.Transaction[bytes], key: bytes) -> RowLayout:
        if key not in self._layouts:
            stored = txn.get(_LAYOUT + key, db=self._meta)
            if stored is None:
                raise LookupError("unknown layout")
            self._layouts[key] = RowLayout.model_validate_json(stored)
        return self._layouts[key]


def _delete_day(cursor: lmdb.Cursor[bytes], day: dt.date) -> None:
    prefix, found = day_prefix(day), cursor.first()
    while found:
        if cursor.value()[:DAY_BYTES] == prefix:
            cursor.delete()  # moves the cursor to the next row
            found = bool(cursor.key())
        else:
            found = cursor.next()


def _put_slice(cursor: lmdb.Cursor[bytes], day: dt.date, part: RowSlice) -> int:
    prefix = day_prefix(day)
    newer = {key for key, row in cursor.getmulti(part.customers) if row[:DAY_BYTES] > prefix}
    items = [item for item in part.items() if item[0] not in newer]
    cursor.putmulti(items, dupdata=False)
    return len(items)
