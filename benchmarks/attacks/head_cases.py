"""Requests with unusual heads: headers, targets, methods, versions, sizes, expectations."""

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


def header_cases() -> Iterator[Case]:
    """Return requests with unusual and malformed headers, and other protocols."""
    yield Case("empty header", get(HOST + b"X:\r\nY:   \r\n"), (OK,))
    yield Case("empty lines before the request", b"\r\n\r\n" + GET, (OK,))
    yield Case("bytes above 127 in a header", get(HOST + b"X: \xe4\xff\r\n"), (OK,))
    for host in (b"127.0.0.1:3000", b"[::1]:3000", b"[::1]", b"churn.example.com", b"a_b", b"", b"x:"):
        yield Case(f"Host {host.decode()}", get(b"Host: " + host + b"\r\n"), (OK,))
    yield Case("no Host in HTTP/1.0", get(b"", version=b"1.0"), (OK,), closes=True)
    hosts = [
        b"a b",
        b"x/y",
        b"x@y",
        b"x?y",
        b"x#y",
        b"x, y",
        b"x:port",
        b"x:1:2",
        b"[::1",
        b"x\\y",
        b"\xc3\xa4",
        b'"x"',
    ]
    yield from refused((f"Host {host!r}", get(b"Host: " + host + b"\r\n")) for host in hosts)
    names = {
        "no Host": b"",
        "two Hosts": 2 * HOST,
        "two different Hosts": HOST + b"Host: y\r\n",
        "space before the first header": b" " + HOST,
        "folded header": HOST + b"X: a\r\n b\r\n",
        "header folded with a tab": HOST + b"X: a\r\n\tb\r\n",
        "space before the colon": HOST + b"X : a\r\n",
        "tab before the colon": HOST + b"X\t: a\r\n",
        "space in a name": HOST + b"X Y: a\r\n",
        "no name": HOST + b": a\r\n",
        "no colon": HOST + b"X\r\n",
        "bracket in a name": HOST + b"X[]: a\r\n",
        "byte above 127 in a name": HOST + b"X\xe4: a\r\n",
        "null byte in a name": HOST + b"X\x00: a\r\n",
        "null byte in a value": HOST + b"X: a\x00b\r\n",
        "control character in a value": HOST + b"X: a\x01b\r\n",
        "delete character in a value": HOST + b"X: a\x7fb\r\n",
        "carriage return in a value": HOST + b"X: a\rb\r\n",
        "line feed between headers": b"Host: x\nX: y\r\n",
        "carriage return between headers": b"Host: x\rX: y\r\n",
        "two carriage returns": b"Host: x\r\r\nX: y\r\n",
        "line feed after the headers": HOST + b"\n" + HIDDEN,
    }
    yield from refused((name, get(headers)) for name, headers in names.items())
    yield Case("two Hosts in HTTP/1.0", get(2 * HOST, version=b"1.0"), (REFUSED,), closes=True)
    yield from refused(
        [
            ("line feeds", b"GET /livez HTTP/1.1\nHost: x\n\n" + HIDDEN),
            ("line feed after the request line", b"GET /livez HTTP/1.1\nHost: x\r\n\r\n"),
            ("space before the method", b" " + GET),
            ("tabs in the request line", b"GET\t/livez\tHTTP/1.1\r\nHost: x\r\n\r\n"),
            ("space after the version", b"GET /livez HTTP/1.1 \r\nHost: x\r\n\r\n"),
            ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32) + b"\r\n\r\n"),
            ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
            ("SMTP", b"EHLO example.com\r\n"),
            ("null bytes", bytes(64)),
            ("proxy protocol", b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + GET),
            ("response", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ]
    )


def target_cases() -> Iterator[Case]:
    """Return requests with unusual methods, targets and versions."""
    yield from refused(
        [
            ("HTTP/0.9", b"GET /livez\r\n\r\n"),
            ("preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)),
            ("preface of HTTP/2 as HTTP/1.1", b"PRI * HTTP/1.1\r\n\r\nSM\r\n\r\n"),
            ("lower case of HTTP", b"GET /livez http/1.1\r\nHost: x\r\n\r\n"),
        ]
    )
    versions = (b"0.9", b"1.2", b"1.10", b"1.", b"11", b"2.0", b"3.0", b"3.7", b"-1.1", b"1.1.1")
    yield from refused((f"HTTP/{version.decode()}", get(version=version)) for version in versions)
    yield from refused(
        (f"method {name!r}", get(method=name)) for name in (b"FOO", b"get", b"G\x00T", b"X" * 5000, b"GET/")
    )
    targets = {
        "relative target": b"livez",
        "fragment": b"/livez#x",
        "space in the target": b"/livez x",
        "null byte in the target": b"/\x00",
        "control character in the target": b"/\x01",
        "byte above 127 in the target": b"/\xc3\xa4",
        "file URL": b"file:///etc/passwd",
        "URL without a host": b"http:///livez",
        "URL with a port beyond 65535": b"http://x:99999/livez",
        "authority as the target": b"x:80",
    }
    yield from refused((name, get(target=target)) for name, target in targets.items())
    for name, target, statuses in (
        ("URL as the target", b"http://x/livez", {200}),
        ("URL of another host", b"http://y/livez", {200, 400}),
        ("URL with a user", b"http://u:p@x/livez", {200, 400}),
        ("URL without a path", b"http://x", {400, 404}),
        ("asterisk", b"*", {400, 404}),
        ("two slashes", b"//livez", {400, 404}),
        ("host after two slashes", b"//x/livez", {400, 404}),
        ("path to the parent", b"/livez/../predict", {400, 404}),
        ("escaped path to the parent", b"/%2e%2e/%2e%2e/etc/passwd", {400, 404}),
        ("escaped null byte", b"/livez%00", {400, 404}),
        ("escaped line feed", b"/livez%0A", {400, 404}),
        ("broken escapes", b"/%zz%", {400, 404}),
        ("escapes that are not UTF-8", b"/%ff%fe", {400, 404}),
        ("other case", b"/LIVEZ", {404}),
        ("slash at the end", b"/livez/", {404}),
        ("backslash", b"\\livez", {400, 404}),
        ("parameter", b"/livez;x", {400, 404}),
        ("query", b"/livez?x=%00&y", {200}),
    ):
        yield Case(name, get(target=target), (frozenset(statuses),), closes=None)
    yield Case("OPTIONS *", get(target=b"*", method=b"OPTIONS"), (frozenset({200, 400, 404}),), closes=None)
    for method in (b"OPTIONS", b"TRACE", b"PUT", b"PATCH", b"PROPFIND", b"PURGE", b"QUERY", b"HEAD"):
        yield Case(f"{method.decode()} /predict", get(target=b"/predict", method=method), (METHOD,))


def size_cases(body: bytes) -> Iterator[Case]:
    """Return requests with sizes near the limits and far above them."""
    too_large, too_long = (frozenset({431}),), (frozenset({414, 431}),)
    chunks = post(CHUNKED, b"")
    yield Case("100 headers", get(HOST + b"X-Many: x\r\n" * 99), (OK,))
    yield Case("header of 60,000 bytes", get(HOST + b"X-Long: " + b"x" * 60_000 + b"\r\n"), (OK,))
    yield Case("target of 8,000 bytes", get(target=b"/livez?" + b"x" * 8_000), (OK,))
    yield Case("101 headers", get(HOST + b"X-Many: x\r\n" * 100), too_large, closes=True)
    yield Case("header of 66,000 bytes", get(HOST + b"X-Long: " + b"x" * 66_000 + b"\r\n"), too_large, closes=True)
    yield Case("header of 1 MiB", get(HOST + b"X-Long: " + b"x" * 2**20 + b"\r\n"), too_large, closes=True)
    yield Case("name of 1 MiB", get(HOST + b"X" * 2**20 + b": x\r\n"), too_large, closes=True)
    yield Case("white space of 1 MiB", get(HOST + b"X: " + b" " * 2**20 + b"x\r\n"), too_large, closes=True)
    yield Case("50,000 headers", get(HOST + b"X-Many: x\r\n" * 50_000), too_large, closes=True)
    yield Case("50 headers of 2,000 bytes", get(HOST + (b"X: " + b"x" * 2000 + b"\r\n") * 50), too_large, closes=True)
    yield Case("target of 9,000 bytes", get(target=b"/livez?" + b"x" * 9_000), too_long, closes=True)
    yield Case("target of 1 MiB", get(target=b"/" + b"x" * 2**20), too_long, closes=True)
    yield Case("large headers after a request", GET + get(HOST + b"X: x\r\n" * 20_000), (OK, *too_large), closes=True)
    yield Case("large headers before a body", post(b"X: x\r\n" * 20_000 + length(body), body), too_large, closes=True)
    yield Case("extension of 1 MiB", chunks + b"1;" + b"x" * 2**20, too_large, closes=True)
    yield Case("50,000 trailers", chunks + b"0\r\n" + b"X-Many: x\r\n" * 50_000 + b"\r\n", too_large, closes=True)
    yield Case("50,000 chunks of a byte", chunks + chunked(b"x" * 50_000, 1), too_large, closes=True)
    yield Case("chunk size of 1 MiB of zeros", chunks + b"0" * 2**20 + b"\r\n\r\n", too_large, closes=True)
    large = b" " * 2**18
    yield Case("body beyond the limit", post(length(large), large), (frozenset({413}),))
    yield Case("chunks beyond the limit", post(CHUNKED, chunked(large, 4096)), (frozenset({413}),))


def expectation_cases(body: bytes) -> Iterator[Case]:
    """Return requests with ``Expect``."""
    expect, other = b"Expect: 100-continue\r\n", b"Expect: 200-ok\r\n"
    yield Case("expectation", post(expect + length(body), body), (OK,))
    yield Case("expectation in capitals", post(b"EXPECT: 100-Continue\r\n" + length(body), body), (OK,))
    yield Case("expectation without a body", get(HOST + expect), (OK,))
    yield Case(
        "expectation of another path", post(expect + length(HIDDEN), HIDDEN, path=b"/hidden"), (frozenset({404}),)
    )
    yield Case(
        "expectation and upgrade", post(b"Connection: upgrade\r\nUpgrade: h2c\r\n" + expect + length(body), body), (OK,)
    )
    yield Case("other expectation", post(other + length(HIDDEN), HIDDEN), (frozenset({417}),), closes=True)
    yield Case("two expectations", post(expect + other, b""), (frozenset({400, 417}),), closes=True)
    yield Case("list of expectations", post(b"Expect: 100-continue, x\r\n", b""), (frozenset({417}),), closes=True)
    yield Case("expectation in HTTP/1.0", post(other + length(body), body, b"1.0"), (OK,), closes=True)
