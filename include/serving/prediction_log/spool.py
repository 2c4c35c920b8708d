"""Parts on the server's disk: Arrow IPC streams that grow by whole record batches.

What ``write`` has returned from is in the operating system's hands and survives the end of the process. Each file is
locked by the process that writes it, and the lock goes with the process: a file without a lock is finished.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa

SUFFIX = ".arrows"
_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
# The rows repeat themselves little, and LZ4 costs next to nothing where they do not.
_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class SpoolFile:
    """One part that is being written.

    Args:
        folder: The spool, made when it is missing; only its owner may look into it.
        day: The UTC day of all its rows.
        source: Who writes, such as a Bento's version.
        schema: The schema of its batches.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, folder: Path, day: dt.date, source: str, schema: pa.Schema) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.day = day
        self.path = folder / f"{day}_{source}_{uuid.uuid4().hex}{SUFFIX}"
        self.size = 0
        self._schema = schema
        self._header = len(schema.serialize())
        scratch = self.path.with_name(f".{self.path.name}")
        self._file = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        # Locked before it has the name that a courier looks for.
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._append(schema.serialize())
            scratch.rename(self.path)
        except OSError:
            os.close(self._file)
            scratch.unlink(missing_ok=True)
            raise

    def write(self, batch: pa.RecordBatch) -> None:
        """Append ``batch``.

        Raises:
            OSError: The disk refused; the file is as it was.
        """
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self._schema, options=_OPTIONS) as stream:
            stream.write_batch(batch)
        self._append(memoryview(sink.getvalue())[self._header : -len(_END)])

    def close(self) -> None:
        """Finish the file and let go of it."""
        # Without the end mark it reads the same.
        with suppress(OSError):
            self._append(_END)
        os.close(self._file)

    def _append(self, content: memoryview | bytes | pa.Buffer) -> None:
        left = memoryview(content)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            # Half a batch would hide all that follow it.
            os.ftruncate(self._file, self.size)
            raise
        self.size += memoryview(content).nbytes


def finished(folder: Path) -> Iterator[Path]:
    """Yield the parts in ``folder`` that nobody writes, each locked while the caller has it."""
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with suppress(ValueError):
            day_of(path.name)
            with _locked(path) as mine:
                if mine:
                    yield path


def spooled_bytes(folder: Path) -> int:
    """Return how many bytes the parts in ``folder`` have, those that are being written included."""
    total = 0
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):  # delivered meanwhile
            total += path.stat().st_size
    return total


def day_of(name: str) -> dt.date:
    """Return the day in a part's name.

    Raises:
        ValueError: It is not the name of a part.
    """
    if not name.endswith(SUFFIX):
        raise ValueError(f"{name!r} is not the name of a part")
    return dt.date.fromisoformat(name[:10])


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _lock(file) and _is_still(path, file)
    finally:
        os.close(file)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, file: int) -> bool:
    # Another courier may have taken it away between opening and locking.
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(file))
    return False
