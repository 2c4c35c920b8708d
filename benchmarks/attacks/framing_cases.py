"""Requests whose body could have different ends for two implementations: upgrades, lengths, codings, chunks."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.attacks.cases import (
    CHUNKED,
    GET,
    HIDDEN,
    HOST,
    METHOD,
    OK,
    REFUSED,
    Case,
    chunked,
    get,
    length,
    post,
    refused,
)

_H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
_WEBSOCKET = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)


def upgrade_cases(body: bytes) -> Iterator[Case]:
    """Return requests with an upgrade. A server may ignore the upgrade (RFC 9110, 7.8), but must read the body."""
    for name, upgrade in {
        "h2c": _H2C,
        "websocket": _WEBSOCKET,
        "TLS": b"Connection: upgrade\r\nUpgrade: TLS/1.2, HTTP/1.1\r\n",
        "unknown upgrade": b"Connection: close-not, UPGRADE\r\nupgrade: foo/1\r\n",
        "two upgrades": b"Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n",
    }.items():
        yield Case(f"{name}, prediction", post(upgrade + length(body), body), (OK,))
        yield Case(f"{name}, prediction in chunks", post(upgrade + CHUNKED, chunked(body)), (OK,))
        yield Case(f"{name}, request as body", post(upgrade + length(HIDDEN), HIDDEN), (REFUSED,))
        yield Case(f"{name}, request in chunks", post(upgrade + CHUNKED, chunked(HIDDEN)), (REFUSED,))
        yield Case(f"{name}, no body", get(HOST + upgrade), (OK,))
        yield Case(f"{name}, body of another path", post(upgrade + length(HIDDEN), HIDDEN, path=b"/health"), (METHOD,))
        yield Case(f"{name} in HTTP/1.0", post(upgrade + length(body), body, b"1.0"), (OK,), closes=True)
    yield Case("upgrade without Connection", post(b"Upgrade: h2c\r\n" + length(body), body), (OK,))
    yield Case("Connection without an upgrade", post(b"Connection: Upgrade\r\n" + length(body), body), (OK,))
    yield Case("upgrade of the second request", GET + post(_H2C + length(HIDDEN), HIDDEN), (OK, REFUSED))
    yield Case("two upgrades in a row", 2 * post(_H2C + length(body), body), (OK, OK))
    yield Case("100 upgrades in a row", 100 * get(HOST + b"Connection: upgrade\r\nUpgrade: x\r\n"), 100 * (OK,))
    large = _H2C + b"X-Long: " + b"x" * 66_000 + b"\r\n" + length(body)
    yield Case("upgrade with large headers", post(large, body), (frozenset({431}),), closes=True)
    yield Case("upgrade in the trailers", post(CHUNKED, chunked(body)[:-2] + _H2C + b"\r\n"), (OK,))
    yield from refused(
        [
            ("CONNECT", get(target=b"x:80", method=b"CONNECT") + HIDDEN),
            ("CONNECT of a path", get(target=b"/livez", method=b"CONNECT") + HIDDEN),
            ("CONNECT with a body", get(HOST + length(HIDDEN), b"x:80", b"CONNECT") + HIDDEN),
            ("h2c and two lengths", post(_H2C + length(HIDDEN) + b"Content-Length: 1\r\n", HIDDEN)),
            ("h2c, chunks and length", post(_H2C + CHUNKED + length(HIDDEN), HIDDEN)),
            ("h2c and two hosts", post(_H2C + b"Host: y\r\n" + length(HIDDEN), HIDDEN)),
        ]
    )


def length_cases(body: bytes) -> Iterator[Case]:
    """Return requests whose length or transfer coding is missing, malformed or ambiguous."""
    size = len(HIDDEN)
    yield Case("length with zeros", post(b"Content-Length: 000%d\r\n" % len(body), body), (OK,))
    yield Case("white space around the length", post(b"Content-Length: \t %d \t\r\n" % len(body), body), (OK,))
    yield Case("body of a GET request", get(HOST + length(HIDDEN)) + HIDDEN, (OK,))
    yield Case("body of a HEAD request", get(HOST + length(HIDDEN), b"/predict", b"HEAD") + HIDDEN, (METHOD,))
    yield Case("no length", post(b"", b""), (REFUSED,))
    values = {
        "with a plus": b"+%d" % size,
        "negative": b"-%d" % size,
        "in hexadecimal": b"0x%x" % size,
        "fraction": b"%d.0" % size,
        "list": b"%d, %d" % (size, size),
        "list of two": b"%d, 0" % size,
        "two numbers": b"%d 1" % size,
        "empty": b"",
        "text": b"all",
        "with an underscore": b"3_4",
        "beyond 64 bits": b"18446744073709551616",
        "far beyond 64 bits": b"9" * 200,
        "folded": b"1\r\n 2",
        "with a form feed": b"%d\x0c" % size,
        "with a null byte": b"%d\x00" % size,
        "with a no-break space": b"\xa0%d" % size,
    }
    yield from refused(
        (f"length {name}", post(b"Content-Length: " + v + b"\r\n", HIDDEN)) for name, v in values.items()
    )
    yield from refused(
        [
            ("two lengths", post(length(HIDDEN) + b"Content-Length: 1\r\n", HIDDEN)),
            ("the same length twice", post(2 * length(HIDDEN), HIDDEN)),
            ("space before the colon of a length", post(b"Content-Length : 5\r\n", HIDDEN)),
            ("length and chunks", post(length(HIDDEN) + CHUNKED, chunked(HIDDEN))),
            ("chunks and length", post(CHUNKED + length(HIDDEN), chunked(HIDDEN))),
            ("chunks and length 0", post(CHUNKED + b"Content-Length: 0\r\n", chunked(HIDDEN))),
        ]
    )
    codings = {
        "gzip and chunks": b"gzip, chunked",
        "chunks and gzip": b"chunked, gzip",
        "chunks twice": b"chunked, chunked",
        "identity": b"identity",
        "identity and chunks": b"identity, chunked",
        "unknown": b"xchunked",
        "with an ending": b"chunkedx",
        "with a parameter": b"chunked;q=1",
        "quoted": b'"chunked"',
        "empty": b"",
        "with a comma": b"chunked,",
        "with a comma first": b",chunked",
        "folded": b"\r\n chunked",
        "with a vertical tab": b"\x0bchunked",
        "with a null byte": b"chunked\x00",
        "deflate": b"deflate",
    }
    for name, coding in codings.items():
        yield Case(f"coding {name}", _coded(coding), (REFUSED,), closes=True)
        yield Case(f"coding {name} and length", _coded(coding, length(HIDDEN)), (REFUSED,), closes=True)
    yield from refused(
        [
            ("two codings", post(CHUNKED + CHUNKED, chunked(HIDDEN))),
            ("coding before another", post(CHUNKED + b"Transfer-Encoding: gzip\r\n", chunked(HIDDEN))),
            ("coding after another", post(b"Transfer-Encoding: gzip\r\n" + CHUNKED, chunked(HIDDEN))),
            ("chunks in HTTP/1.0", post(CHUNKED, chunked(HIDDEN), b"1.0")),
            (
                "chunks and keep-alive in HTTP/1.0",
                post(b"Connection: keep-alive\r\n" + CHUNKED, chunked(HIDDEN), b"1.0"),
            ),
            ("space before the colon of a coding", post(b"Transfer-Encoding : chunked\r\n", chunked(HIDDEN))),
        ]
    )
    yield Case("chunks in capitals", post(b"TRANSFER-ENCODING: CHUNKED\r\n", chunked(body)), (OK,))


def _coded(coding: bytes, more: bytes = b"") -> bytes:
    return post(b"Transfer-Encoding: " + coding + b"\r\n" + more, chunked(HIDDEN))


def chunk_cases(body: bytes) -> Iterator[Case]:
    """Return requests with unusual and malformed chunks and trailers."""
    size = b"%x" % len(body)
    yield Case("chunks", post(CHUNKED, chunked(body)), (OK,))
    yield Case("chunks of one byte", post(CHUNKED, chunked(body, 1)), (OK,))
    yield Case("chunk size with zeros", post(CHUNKED, b"0000000" + size + b"\r\n" + body + b"\r\n0\r\n\r\n"), (OK,))
    yield Case("chunk extension", post(CHUNKED, size + b';a=b;c="d e"\r\n' + body + b"\r\n0;e\r\n\r\n"), (OK,))
    for name, trailer in {
        "trailer": b"X-Checksum: 1\r\n",
        "trailer with a key": b"X-API-Key: 1\r\nAuthorization: Bearer 1\r\n",
        "trailer with a content type": b"Content-Type: text/plain\r\nContent-Encoding: gzip\r\n",
        "trailer with a host": b"Host: y\r\n",
        "trailer with Connection": b"Connection: close\r\n",
    }.items():
        closes = None if b"Connection" in trailer else False
        yield Case(name, post(CHUNKED, chunked(body)[:-2] + trailer + b"\r\n"), (OK,), closes)
    bad = {
        "without a size": b"\r\n" + HIDDEN,
        "size text": b"zz\r\n" + HIDDEN,
        "size with a plus": b"+21\r\n" + HIDDEN,
        "negative size": b"-1\r\n" + HIDDEN,
        "size with 0x": b"0x21\r\n" + HIDDEN,
        "size with an underscore": b"2_1\r\n" + HIDDEN,
        "space before the size": b" 21\r\n" + HIDDEN,
        "space after the size": b"21 \r\n" + HIDDEN,
        "size beyond 64 bits": b"10000000000000021\r\n" + HIDDEN,
        "size far beyond 64 bits": b"f" * 40 + b"\r\n" + HIDDEN,
        "line feed after the size": b"21\n" + HIDDEN + b"\r\n0\r\n\r\n",
        "carriage return after the size": b"21\r" + HIDDEN + b"\r\n0\r\n\r\n",
        "line feed after the data": b"21\r\n" + HIDDEN + b"\n0\r\n\r\n",
        "nothing after the data": b"21\r\n" + HIDDEN + b"0\r\n\r\n",
        "data longer than the size": b"3\r\nabcd\r\n0\r\n\r\n" + HIDDEN,
        "line feed in an extension": b"21;a\n" + HIDDEN + b"\r\n0\r\n\r\n",
        "line feed in a quoted extension": b'21;a="\n"\r\n' + HIDDEN + b"\r\n0\r\n\r\n",
        "carriage return in an extension": b"21;a\rb\r\n" + HIDDEN + b"\r\n0\r\n\r\n",
        "line feed after the last chunk": b"0\n\n" + HIDDEN,
        "line feed after the trailers": b"0\r\n\n" + HIDDEN,
        "folded trailer": b"0\r\nX: a\r\n b\r\n\r\n" + HIDDEN,
        "length in the trailers": b"0\r\nContent-Length: 5\r\n\r\n" + HIDDEN,
        "coding in the trailers": b"0\r\nTransfer-Encoding: chunked\r\n\r\n" + HIDDEN,
    }
    yield from refused((f"chunks: {name}", post(CHUNKED, sent)) for name, sent in bad.items())
