"""A small HTTP server in a thread; a test defines its responses byte by byte."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

Answer = Callable[[int, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Served:
    """The requests that the server has received.

    Attributes:
        url: The address.
        bodies: The bodies of the requests, in order.
        connections: The number of accepted connections.
        at_once: The largest number of concurrent requests.
    """

    def __init__(self) -> None:
        self.url = ""
        self.bodies: list[bytes] = []
        self.connections = 0
        self.at_once = 0


@contextmanager
def serving(answer: Answer) -> Iterator[Served]:
    """Answer request ``n``, counted from 0, with ``await answer(n, writer)``."""
    served, loop, pending = Served(), asyncio.new_event_loop(), 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal pending
        served.connections += 1
        with suppress(OSError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                served.bodies.append(await reader.readexactly(length))
                pending += 1
                served.at_once = max(served.at_once, pending)
                await answer(len(served.bodies) - 1, writer)
                pending -= 1
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(handle, "127.0.0.1", 0))
    served.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield served
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
