"""Files on the local disk: atomic replacement of small files, checksums, and a common error for a full disk."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.errors import ChurnflowError

READABLE = 0o644
PRIVATE = 0o600

_DISK_FULL_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFullError(ChurnflowError):
    """The disk or the quota is full; earlier files are unchanged."""

    can_retry = True


def write_atomically(path: Path, content: str | bytes, mode: int = READABLE) -> None:
    """Replace the file at ``path``; a reader gets the old content or the new content, never a part of it.

    Args:
        path: The file; missing parent folders are created.
        content: The new content; text is encoded as UTF-8.
        mode: The permission bits of the file.

    Raises:
        OSError: The file cannot be written; the old file is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(mode)
        partial.replace(path)
    except OSError:
        partial.unlink()
        raise


def file_checksum(path: Path) -> str:
    """Return the SHA-256 checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def disk_full_errors(where: str) -> Iterator[None]:
    """Raise a ``DiskFullError`` in place of any library's error for a full disk.

    Args:
        where: The address that the block writes to.

    Raises:
        DiskFullError: The disk or the quota is full, or the file exceeds the largest allowed size.
    """
    try:
        yield
    except Exception as error:
        if not _is_disk_full(error):
            raise
        raise DiskFullError(
            "There is no space left to write.",
            where=where,
            remedy="Free some space, then run the days again; earlier data is unchanged.",
        ) from error


def _is_disk_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _DISK_FULL_CODES:
        return True
    # The errors of Delta and DuckDB contain the system's error number only in their text.
    text = str(error)
    return "No space left on device" in text or any(f"(os error {code})" in text for code in _DISK_FULL_CODES)
