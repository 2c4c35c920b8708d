"""A web server that leaves without dropping a request: it answers what it holds, and others get what comes."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import cast

import uvicorn

_POLL_SECONDS = 0.05
_ACCEPTS_PER_TURN = 32


class DrainingServer(uvicorn.Server):
    """A uvicorn server that hands its clients over when it is told to end.

    On SIGTERM it stops accepting, asks the client of each answer to connect anew, and waits until its connections are
    gone. A connection on which nobody speaks is closed in the end; at once on SIGINT, which says that nobody takes
    over.

    Args:
        config: What is served.
        drain_seconds: How long it waits for its connections.
        public: A bound socket that it accepts from as soon as it gets SIGUSR1; shared with other processes.
    """

    def __init__(self, config: uvicorn.Config, drain_seconds: float, public: socket.socket | None = None) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds
        self._public = public
        self._accepting: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the application and listen on ``sockets``."""
        await super().startup(sockets)
        if self._public is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._accept, self._public)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to end; a second signal does not cut short what the first one has begun."""
        if sig == signal.SIGINT:
            self._drain_seconds = 0
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, let connections go, then end the application."""
        for server in self.servers:
            server.close()
        # A request that has begun keeps the headers that it began with: the next one on its connection is told.
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        began = time.monotonic()
        while self.server_state.connections and time.monotonic() - began < self._drain_seconds:
            await asyncio.sleep(_POLL_SECONDS)
        await super().shutdown(sockets)

    def _accept(self, public: socket.socket) -> None:
        if self._accepting is None and not self.should_exit:
            self._accepting = asyncio.get_running_loop().create_task(self._listen(public))

    async def _listen(self, public: socket.socket) -> None:
        protocol: Callable[[], asyncio.Protocol] = partial(
            cast(Callable[..., asyncio.Protocol], self.config.http_protocol_class),
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        loop = asyncio.get_running_loop()
        for listener in accepting_faster(public):
            self.servers.append(await loop.create_server(protocol, sock=listener, backlog=self.config.backlog))


def accepting_faster(listener: socket.socket) -> list[socket.socket]:
    """Return a listening socket and copies of it, for a loop to listen on all of them.

    A loop on libuv accepts one connection for each listener in each of its turns. Under load turns are long, and the
    last of many new clients would wait for seconds.
    """
    return [listener, *(listener.dup() for _ in range(_ACCEPTS_PER_TURN - 1))]
