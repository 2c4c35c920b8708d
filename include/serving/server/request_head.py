"""Checks of a request's head (request line and headers) that httptools leaves to the server: RFC 9110 and RFC 9112."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from include.serving.endpoint.errors import RequestError

MAX_HEAD_BYTES = 2**16
"""The largest total size of the target, and of the names and values of the headers."""

MAX_HEADERS = 100
MAX_TARGET_BYTES = 2**13

# uri-host [ ":" port ] of RFC 9110, 7.2. The host may be empty.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]*)(?::[0-9]*)?")


def check_head(
    method: bytes, target: bytes, version: str, headers: Sequence[tuple[bytes, bytes]], received_bytes: int
) -> None:
    """Check a complete head.

    A head is valid only if every HTTP implementation reads the same request from it, because a proxy in front of the
    server may allow or deny the request that it reads.

    Args:
        method: The method.
        target: The target in the request line.
        version: The version of HTTP, such as 1.1.
        headers: The names, in lower case, and the values.
        received_bytes: An upper bound of the size of the head.

    Raises:
        RequestError: 400, 414, 417 or 431.
    """
    if version not in ("1.1", "1.0"):
        raise malformed("The version of HTTP is not 1.0 or 1.1.")
    if method == b"CONNECT":
        raise malformed("This server is not a proxy.")
    if b"#" in target:
        raise malformed("The target contains a fragment.")
    if len(target) > MAX_TARGET_BYTES:
        raise RequestError(414, "target_too_long", f"The path and the query are longer than {MAX_TARGET_BYTES} bytes.")
    if len(headers) > MAX_HEADERS:
        raise RequestError(431, "headers_too_large", f"There are more than {MAX_HEADERS} headers.")
    if received_bytes > MAX_HEAD_BYTES:
        _check_size(target, headers)
    fields = dict(headers)
    if len(fields) < len(headers):
        _check_repeated([name for name, _ in headers])
    _check_values(version, fields.get(b"host"), fields.get(b"transfer-encoding"), fields.get(b"expect"))


def _check_size(target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
    if len(target) + sum(len(name) + len(value) for name, value in headers) > MAX_HEAD_BYTES:
        raise headers_too_large()


def _check_repeated(names: Sequence[bytes]) -> None:
    # The parser refuses a second Content-Length, and Content-Length together with Transfer-Encoding.
    for name in (b"host", b"transfer-encoding", b"expect"):
        if names.count(name) > 1:
            raise malformed(f"The header {name.decode().title()} is repeated.")


def _check_values(version: str, host: bytes | None, coding: bytes | None, expectation: bytes | None) -> None:
    if host is None:
        if version == "1.1":
            raise malformed("The header Host is missing.")
    elif not _is_host(host):
        raise malformed("The value of Host is not a host with an optional port.")
    if coding is not None:
        if version == "1.0":
            raise malformed("HTTP/1.0 has no Transfer-Encoding.")
        if coding.strip().lower() != b"chunked":
            raise malformed("The only accepted Transfer-Encoding is chunked.")
    if expectation is not None and version == "1.1" and expectation.strip().lower() != b"100-continue":
        raise RequestError(417, "expectation_failed", "The only accepted expectation is 100-continue.")


@lru_cache(maxsize=64)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value.strip()) is not None


def headers_too_large() -> RequestError:
    """Return the error of a request with too many bytes outside of its body."""
    return RequestError(431, "headers_too_large", f"The headers are larger than {MAX_HEAD_BYTES} bytes.")


def malformed(message: str) -> RequestError:
    """Return the error of a request that breaks the rules of HTTP."""
    return RequestError(400, "malformed_http", message)
