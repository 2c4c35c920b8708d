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
    unused connections cannot block other clients.

    Args:
        connections: The largest number of connections, without those for probes.

    Attributes:
        connections: The same number.
    """

    def __init__(self, connections: int) -> None:
        self.connections = connections
        self._waiting: OrderedDict[asyncio.Transport, None] = OrderedDict()

    def begin_waiting(self, transport: asyncio.Transport) -> None:
        """Record that a connection waits for its client from now on, unless it is waiting already."""
        self._waiting[transport] = None

    def end_waiting(self, transport: asyncio.Transport) -> None:
        """Record that a request has arrived, or that the connection has ended."""
        self._waiting.pop(transport, None)

    def close_longest_waiting(self) -> bool:
        """Close the connection that has waited for the longest time, and return whether there was one."""
        if not self._waiting:
            return False
        transport, _ = self._waiting.popitem(last=False)
        transport.abort()
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
