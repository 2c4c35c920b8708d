"""Time-outs and refusals of PostgreSQL connections.

psycopg2 waits in C for an answer, without a time-out, and no Python signal handler runs meanwhile. If a server does not
answer, a task would therefore wait forever, beyond its own time-out. The wait callback moves the wait to Python.
"""

from __future__ import annotations

import re
import select
from functools import partial
from typing import Any

from include.settings import DatabaseTimeouts

_REFUSED = re.compile(
    r"authentication failed|no pg_hba\.conf entry|no password supplied|does not exist|permission denied"
)


def limit_postgres_waits(timeouts: DatabaseTimeouts) -> None:
    """Limit the waits of all psycopg2 connections of this process; without psycopg2, do nothing.

    Args:
        timeouts: The time-outs.
    """
    try:
        from psycopg2.extensions import set_wait_callback
    except ImportError:
        return
    set_wait_callback(partial(_wait, timeouts))


def refuses_connection(message: str) -> bool:
    """Return whether a failed connection was refused: the user, the password or the database is wrong.

    Args:
        message: The message of the driver's ``OperationalError``, which has no code if there is no connection.
    """
    return _REFUSED.search(message) is not None


def _wait(timeouts: DatabaseTimeouts, connection: Any) -> None:
    """Wait until an operation of a connection is complete.

    Args:
        timeouts: The time-outs.
        connection: The connection of psycopg2.

    Raises:
        OperationalError: The server did not answer in time; psycopg2 then closes the connection.
    """
    from psycopg2 import OperationalError
    from psycopg2.extensions import POLL_OK, POLL_READ, STATUS_SETUP

    while (state := connection.poll()) != POLL_OK:
        seconds = timeouts.connect_seconds if connection.status == STATUS_SETUP else timeouts.answer_seconds
        waiting = [connection.fileno()]
        ready = (
            select.select(waiting, [], [], seconds) if state == POLL_READ else select.select([], waiting, [], seconds)
        )
        if not any(ready):
            raise OperationalError(f"no answer within {seconds:g} s")
