"""The limit of the number of connections, and the choice of the connection that a new client replaces."""

from __future__ import annotations

import asyncio
import resource
from collections import OrderedDict

from include.logs import get_logger

log = get_logger(__name__)

PROBE_CONNECTIONS = 64
"""The number of connections beyond the limit, on which only probes and metrics are answered."""

# The online store, the prediction log, the listening sockets and libraries have about 80 open files before the first
# connection. The socket of a closed connection stays open until the next iteration of the event loop.
_OTHER_FILES = 192


class ConnectionLimit:
    """The limit of the connections of one server process.

    A connection waits for its client from its beginning, or from its last response, until the next request has arrived.
    If a new client connects, the connection that has waited for the longest time is closed, so that clients that keep
    unused connections cannot block other clients. If no connection is waiting, the new connection is a spare
    connection. A spare connection is only closed for another spare connection, so that the request of a probe has time
    to arrive.

    Args:
        connections: The largest number of connections, without spare connections.
    """

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._waiting: OrderedDict[asyncio.Transport, None] = OrderedDict()
        self._spare: set[asyncio.Transport] = set()

    def is_full(self, connections: int) -> bool:
        """Return whether a process with this number of connections, with spare ones, has no room for another."""
        return connections - len(self._spare) >= self._connections

    def refuses_predictions(self, transport: asyncio.Transport, connections: int) -> bool:
        """Return whether only probes and metrics are answered on a connection: it is spare, and the process is full."""
        return transport in self._spare and self.is_full(connections)

    def make_room(self, transport: asyncio.Transport) -> bool:
        """Make room for a new connection of a full process by closing another, or by recording the new one as spare.

        Returns:
            False if there is no room: every connection, and every spare one, has a request without a response.
        """
        if self._close_longest_waiting(spare=False):
            return True
        if len(self._spare) >= PROBE_CONNECTIONS and not self._close_longest_waiting(spare=True):
            return False
        self._spare.add(transport)
        return True

    def forget(self, transport: asyncio.Transport) -> None:
        """Record that a connection has ended."""
        self.end_waiting(transport)
        self._spare.discard(transport)

    def begin_waiting(self, transport: asyncio.Transport) -> None:
        """Record that a connection waits for its client from now on, unless it is waiting already."""
        self._waiting[transport] = None

    def end_waiting(self, transport: asyncio.Transport) -> None:
        """Record that a request has arrived."""
        self._waiting.pop(transport, None)

    def _close_longest_waiting(self, *, spare: bool) -> bool:
        longest = next((transport for transport in self._waiting if (transport in self._spare) == spare), None)
        if longest is None:
            return False
        self.end_waiting(longest)
        longest.abort()
        return True


def usable_connections(connections: int) -> int:
    """Raise the soft limit of open files to the hard limit, and return the number of connections that it allows.

    Each connection is an open file. Without a free file descriptor, the kernel would reject clients, and the prediction
    log would lose rows. A warning is logged if the limit allows fewer connections than configured.

    Args:
        connections: The configured number of connections.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = PROBE_CONNECTIONS + _OTHER_FILES
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except ValueError:  # macOS rejects an infinite soft limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (connections + others, hard))
    if hard == resource.RLIM_INFINITY or hard >= connections + others:
        return connections
    usable = max(1, hard - others)
    log.warning(
        "fewer open files allowed than connections need",
        extra={"open_files": hard, "needed": connections + others, "connections": usable},
    )
    return usable
