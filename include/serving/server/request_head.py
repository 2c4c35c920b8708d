"""Checks of a request's head (request line and headers) that httptools leaves to the server: RFC 9110 and RFC 9112."""

from __future__ import annotations

import re
from collections.abc import Sequence

from include.serving.endpoint.errors import RequestError

MAX_HEAD_BYTES = 2**16
"""The largest size of the target, the names and the values of the headers together."""

MAX_HEADERS = 100
MAX_TARGET_BYTES = 2**13

# uri-host [ ":" port ] of RFC 9110, 7.2. The host may be empty.
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~%!$&'()*+,;=]*)(?::[0-9]*)?")


def check_head(method: bytes, target: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]) -> None:
    """Check a complete head.

    A head passes only if every HTTP implementation reads the same request from it, because a proxy in front of the
    server may decide by what it reads.

    Args:
        method: The method.
        target: The target in the request line.
        version: The version of HTTP, such as 1.1.
        headers: The names, in lower case, and the values.

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
    size = len(target)
    hosts = 0
    for name, value in headers:
        size += len(name) + len(value)
        if name == b"host":
            hosts += 1
            if not _HOST.fullmatch(value.rstrip()):
                raise malformed("The value of Host is not a host with an optional port.")
        elif name == b"transfer-encoding":
            # The parser refuses a second Transfer-Encoding, and Transfer-Encoding together with Content-Length.
            if version == "1.0":
                raise malformed("HTTP/1.0 has no Transfer-Encoding.")
            if value.rstrip().lower() != b"chunked":
                raise malformed("The only accepted Transfer-Encoding is chunked.")
        elif name == b"expect" and version == "1.1" and value.rstrip().lower() != b"100-continue":
            raise RequestError(417, "expectation_failed", "The only accepted expectation is 100-continue.")
    if hosts > 1 or (not hosts and version == "1.1"):
        raise malformed("A request needs exactly one Host header.")
    if size > MAX_HEAD_BYTES:
        raise headers_too_large()


def headers_too_large() -> RequestError:
    """Return the error of a request with too many bytes outside of its body."""
    return RequestError(431, "headers_too_large", f"The headers are larger than {MAX_HEAD_BYTES} bytes.")


def malformed(message: str) -> RequestError:
    """Return the error of a request that breaks the rules of HTTP."""
    return RequestError(400, "malformed_http", message)
