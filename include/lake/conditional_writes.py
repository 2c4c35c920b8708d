"""The check that an object store has conditional writes, which concurrent commits to a Delta table need.

A commit writes the next file of Delta's log on the condition that it does not exist. A store that ignores the condition
lets a second writer replace this file, and the rows of the first writer are lost without an error.
"""

from __future__ import annotations

import uuid
from contextlib import suppress

import fsspec

from include.errors import ChurnflowError


class ConditionalWriteError(ChurnflowError):
    """The object store has no conditional writes; nothing was written to the table."""


def require_conditional_writes(uri: str) -> None:
    """Check that a store does not replace a file whose write has the condition that it does not exist.

    Args:
        uri: The address of a table in an object store. A small file is written beside the table and deleted.

    Raises:
        ConditionalWriteError: The store replaced the file.
    """
    files, root = fsspec.url_to_fs(uri)
    path = f"{root}.conditional-{uuid.uuid4().hex}"
    files.pipe_file(path, b"first")
    try:
        with suppress(OSError):  # s3fs raises different errors for a refused condition; the content shows the result
            files.pipe_file(path, b"second", mode="create")
        kept = files.cat_file(path) == b"first"
    finally:
        files.rm_file(path)
    if not kept:
        raise ConditionalWriteError(
            "The object store ignores the condition that a file does not exist (If-None-Match). Two runs at the same"
            " time could lose rows.",
            where=uri,
            remedy="Use an object store with conditional writes, or a lake on a disk.",
        )
