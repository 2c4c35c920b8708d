"""A hostile request as bytes, the responses that are allowed for it, and the parts of such requests."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
"""A body that is itself a request. If the server responds to it, the request was smuggled."""

OK = frozenset({200})
REFUSED = frozenset({400})
METHOD = frozenset({405})

HOST = b"Host: x\r\n"
JSON = b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
GET = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"


@dataclass(frozen=True)
class Case:
    """Bytes for a new connection.

    Attributes:
        name: The unusual property of the bytes.
        sent: The bytes.
        allowed: The allowed statuses of each response, in order.
        closes: Whether the server must end the connection without a response to a request that follows; None if the
            server may respond to this request.
        half_closed: Whether the client closes its side of the connection after the bytes.
    """

    name: str
    sent: bytes
    allowed: tuple[frozenset[int], ...]
    closes: bool | None = False
    half_closed: bool = False


def post(headers: bytes, body: bytes, version: bytes = b"1.1", path: bytes = b"/predict") -> bytes:
    """Return a request with a JSON content type; ``headers`` contains the headers that frame the body."""
    return b"POST %s HTTP/%s\r\n" % (path, version) + HOST + JSON + headers + b"\r\n" + body


def get(headers: bytes = HOST, target: bytes = b"/livez", method: bytes = b"GET", version: bytes = b"1.1") -> bytes:
    """Return a request without a body."""
    return b"%s %s HTTP/%s\r\n%s\r\n" % (method, target, version, headers)


def length(body: bytes) -> bytes:
    """Return the header with the length of a body."""
    return b"Content-Length: %d\r\n" % len(body)


def chunked(body: bytes, size: int = 16) -> bytes:
    """Return a body in chunks, with the last chunk."""
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def refused(cases: Iterable[tuple[str, bytes]]) -> Iterator[Case]:
    """Return cases that must get 400 and the end of the connection."""
    for name, sent in cases:
        yield Case(name, sent, (REFUSED,), closes=True)
