"""A web server that ends without dropping a request."""

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
    """A uvicorn server that drains its connections before it ends.

    On SIGTERM it stops accepting, adds ``Connection: close`` to each response, and waits up to ``drain_seconds`` until
    its connections are closed; then it closes idle connections. On SIGINT, which is sent when no other server takes
    over, it closes idle connections immediately.

    Args:
        config: uvicorn's configuration.
        drain_seconds: The longest wait for connections to close.
        public: A bound socket, shared with other processes, from which the server accepts after SIGUSR1.
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
        """Begin the shutdown; SIGINT ends the drain. Unlike in uvicorn, a second signal does not force the exit.

        Args:
            sig: The signal.
            frame: Not used.
        """
        if sig == signal.SIGINT:
            self._drain_seconds = 0
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, wait for connections to close, then shut the application down."""
        for server in self.servers:
            server.close()
        # Requests in progress have already copied the headers; the next request on a connection gets the new headers.
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
        for listener in duplicated(public):
            self.servers.append(await loop.create_server(protocol, sock=listener, backlog=self.config.backlog))


def duplicated(listener: socket.socket) -> list[socket.socket]:
    """Return a listening socket and duplicates of it, for an event loop to listen on all of them.

    libuv accepts one connection per listener in each turn of the loop. Under load turns are long, and the last of many
    new clients would wait for seconds.
    """
    return [listener, *(listener.dup() for _ in range(_ACCEPTS_PER_TURN - 1))]
