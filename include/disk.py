"""A disk that is full, said in one way whichever library noticed it."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from include.errors import ChurnflowError

_CODES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class DiskFullError(ChurnflowError):
    """There is no space to write to; what was written before is as it was."""


@contextmanager
def disk_full_named(where: str) -> Iterator[None]:
    """Turn what any library raises on a full disk into one error that says where.

    Args:
        where: The address that is written to.

    Raises:
        DiskFullError: The disk, the quota or the largest size of a file is used up.
    """
    try:
        yield
    except Exception as error:
        if not _is_full(error):
            raise
        raise DiskFullError(
            "There is no space left to write.",
            where=where,
            remedy="Free some space, then run the days again; what was there before is as it was.",
        ) from error


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _CODES:
        return True
    # Delta's and DuckDB's own errors carry the system's number or words only.
    text = str(error)
    return "No space left on device" in text or any(f"(os error {code})" in text for code in _CODES)
