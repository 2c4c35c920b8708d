"""Requests with unusual bodies, requests to probes, sequences of requests, and half-closed connections."""

from __future__ import annotations

import gzip
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
)

_ARROW = b"Content-Type: application/vnd.apache.arrow.stream\r\n"
_UNSUPPORTED = frozenset({415})
_INVALID = frozenset({400, 422})


def body_cases(body: bytes, batch: bytes) -> Iterator[Case]:
    """Return requests whose body does not match its content type, or has additional bytes."""
    for name, sent, statuses in (
        ("white space around the JSON", b" \r\n" + body + b"\t\n ", OK),
        ("byte after the JSON", body + b"x", REFUSED),
        ("null byte after the JSON", body + b"\x00", REFUSED),
        ("JSON twice", body + body, REFUSED),
        ("JSON lines", body + b"\n" + body, REFUSED),
        ("request after the JSON", body + HIDDEN, REFUSED),
        ("byte order mark", b"\xef\xbb\xbf" + body, REFUSED),
        ("UTF-16", body.decode().encode("utf-16"), REFUSED),
        ("Latin-1", body[:-1] + b', "\xe4": 1}', _INVALID),
        ("part of a surrogate pair", body[:-1] + b', "\\ud800": 1}', _INVALID),
        ("compressed", gzip.compress(body), REFUSED),
        ("empty body", b"", REFUSED),
        ("array", b"[" + body + b"]", _INVALID),
        ("100,000 brackets", b"[" * 50_000, REFUSED),
        ("number beyond a double", body[:-1] + b', "x": 1e999}', _INVALID),
        ("number of 10,000 digits", body[:-1] + b', "x": ' + b"9" * 10_000 + b"}", _INVALID),
        ("NaN", body[:-1] + b', "x": NaN}', _INVALID),
        ("comment", body + b"// x", REFUSED),
    ):
        yield Case(name, post(length(sent), sent), (statuses,))
        yield Case(f"{name}, in chunks", post(CHUNKED, chunked(sent, 64)), (statuses,))
    for name, headers in {
        "two content types": b"Content-Type: text/plain\r\n",
        "content encoding": b"Content-Encoding: gzip\r\n",
        "identity as content encoding": b"Content-Encoding: identity\r\n",
    }.items():
        yield Case(name, post(headers + length(body), body), (_UNSUPPORTED,))
    for kind in (
        b"",
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data; boundary=x",
        b"application/jsonl",
    ):
        sent = post(length(body), body).replace(b"application/json", kind)
        yield Case(f"content type {kind.decode()!r}", sent, (_UNSUPPORTED,))
    for name, sent, statuses in (
        ("batch", batch, OK),
        ("byte after the batch", batch + b"x", REFUSED),
        ("zeros after the batch", batch + bytes(8), REFUSED),
        ("batch twice", batch + batch, REFUSED),
        ("request after the batch", batch + HIDDEN, REFUSED),
        ("JSON after the batch", batch + body, REFUSED),
        ("part of a batch", batch[: len(batch) // 2], REFUSED),
        ("compressed batch", gzip.compress(batch), REFUSED),
        ("JSON as a batch", body, REFUSED),
    ):
        whole = b"POST /predict_batch HTTP/1.1\r\n" + HOST + _ARROW + length(sent) + b"\r\n" + sent
        yield Case(name, whole, (statuses,))
    sent = body + b"\n" + body
    yield Case("JSON lines as a batch", post(length(sent), sent, path=b"/predict_batch"), (_INVALID,))


def monitoring_cases() -> Iterator[Case]:
    """Return requests for the routes of monitoring with bodies and other methods."""
    for path in (b"/health", b"/livez", b"/readyz", b"/metrics", b"/model", b"/openapi.json"):
        name = path.decode()
        yield Case(f"{name} with a body", get(HOST + length(HIDDEN), path) + HIDDEN, (OK,))
        yield Case(f"{name} with chunks", get(HOST + CHUNKED, path) + chunked(HIDDEN), (OK,))
        yield Case(f"HEAD {name}", get(target=path, method=b"HEAD"), (OK,))
        yield Case(f"POST {name}", post(length(HIDDEN), HIDDEN, path=path), (METHOD,))
        for method in (b"PUT", b"DELETE", b"OPTIONS"):
            yield Case(f"{method.decode()} {name}", get(target=path, method=method), (METHOD,))


def sequence_cases(body: bytes) -> Iterator[Case]:
    """Return several requests on one connection, some of them malformed."""
    predict = post(length(body), body)
    close = b"Connection: close\r\n"
    two_lengths = post(length(HIDDEN) + b"Content-Length: 1\r\n", HIDDEN)
    yield Case("100 requests", 100 * GET, 100 * (OK,))
    yield Case("predictions and probes", 5 * (predict + GET), 10 * (OK,))
    yield Case("empty lines between requests", GET + b"\r\n\r\n" + predict + b"\r\n", (OK, OK))
    yield Case("invalid request between others", GET + post(length(HIDDEN), HIDDEN) + predict, (OK, REFUSED, OK))
    for name, bad in {
        "garbage": b"garbage\r\n\r\n",
        "two lengths": two_lengths,
        "bad chunk": post(CHUNKED, b"zz\r\n" + HIDDEN),
        "no Host": get(b""),
        "CONNECT": get(target=b"x:1", method=b"CONNECT"),
        "null bytes": bytes(20),
    }.items():
        yield Case(f"{name} after a request", GET + bad + predict, (OK, REFUSED), closes=True)
        yield Case(f"{name} after a prediction", predict + bad + GET, (OK, REFUSED), closes=True)
        yield Case(f"{name} after three predictions", 3 * predict + bad + GET, (OK, OK, OK, REFUSED), closes=True)
        yield Case(f"{name} first", bad + predict, (REFUSED,), closes=True)
    last = {
        "Connection: close": get(HOST + close),
        "prediction with Connection: close": post(close + length(body), body),
        "HTTP/1.0": get(version=b"1.0"),
        "keep-alive and close": get(HOST + b"Connection: keep-alive, close\r\n"),
    }
    for name, sent in last.items():
        yield Case(f"request after {name}", sent + GET, (OK,), closes=True)
        yield Case(f"garbage after {name}", sent + b"garbage\r\n\r\n", (OK,), closes=True)
        yield Case(f"two lengths after {name}", sent + two_lengths, (OK,), closes=True)


def half_closed_cases(body: bytes) -> Iterator[Case]:
    """Return requests after which the client closes its side of the connection."""
    predict = post(length(body), body)
    for name, sent, statuses in (
        ("nothing", b"", ()),
        ("empty lines", b"\r\n\r\n", ()),
        ("a request", GET, (OK,)),
        ("a prediction", predict, (OK,)),
        ("a prediction in chunks", post(CHUNKED, chunked(body)), (OK,)),
        ("a prediction with an upgrade", post(b"Connection: upgrade\r\nUpgrade: h2c\r\n" + length(body), body), (OK,)),
        ("a prediction in HTTP/1.0", post(length(body), body, b"1.0"), (OK,)),
        ("five predictions", 5 * predict, 5 * (OK,)),
        ("a part of the request line", b"GET /li", (REFUSED,)),
        ("a part of the headers", GET[:-2], (REFUSED,)),
        ("headers without the body", post(length(body), b""), (REFUSED,)),
        ("a part of the body", predict[:-1], (REFUSED,)),
        ("a body with a huge length", post(b"Content-Length: 9999999999\r\n", HIDDEN), (REFUSED,)),
        ("a huge chunk", post(CHUNKED, b"7fffffffffffffff\r\n" + HIDDEN), (REFUSED,)),
        ("chunks without the last", post(CHUNKED, chunked(body)[:-5]), (REFUSED,)),
        ("a part of the trailers", post(CHUNKED, chunked(body)[:-2] + b"X: y"), (REFUSED,)),
        ("a request and a part of another", GET + predict[:-1], (OK, REFUSED)),
        ("a prediction and a part of a request line", predict + b"GET", (OK, REFUSED)),
        ("a prediction and garbage", predict + bytes(20), (OK, REFUSED)),
    ):
        yield Case(f"end after {name}", sent, statuses, closes=True, half_closed=True)
