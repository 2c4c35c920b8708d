"""What is refused before a body is parsed: what there is no room for, another content type, a body too large."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.serving.endpoint.overload import Capacity, OverloadedError, Reservation
from include.serving.endpoint.requests import RefusalError
from include.settings import ServingSettings

_JSON = b"application/json"
_ARROW = b"application/vnd.apache.arrow.stream"
# Whoever watches the endpoint is answered in any state of it.
_ALWAYS_ANSWERED = frozenset({"/health", "/livez", "/readyz", "/metrics"})


@dataclass(frozen=True)
class BodyRule:
    """What the body of a path may be.

    Attributes:
        media_types: The content types that are read.
        max_bytes: The largest size.
    """

    media_types: tuple[bytes, ...]
    max_bytes: int


def body_rules(settings: ServingSettings) -> dict[str, BodyRule]:
    """Return the rule of every path that reads a body."""
    return {
        "/predict": BodyRule((_JSON,), settings.max_body_bytes),
        "/predict_batch": BodyRule((_JSON, _ARROW), settings.max_batch_body_bytes),
    }


class RequestGuard:
    """ASGI middleware that lets requests pass with their bodies read, as many at a time as there is capacity for.

    Args:
        app: The application behind it.
        rules: What bodies may be, by path; the bodies of other requests are not read.
        capacity: What this process takes on.
        answer_seconds: After which time an answer is given up. It is sent in one piece after all the work, so that what
            is late has not begun to be sent.
    """

    def __init__(
        self, app: ASGIApp, rules: Mapping[str, BodyRule], capacity: Capacity, answer_seconds: float = 60.0
    ) -> None:
        self._app = app
        self._rules = rules
        self._capacity = capacity
        self._answer_seconds = answer_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 413, 415 or 503."""
        if scope["type"] != "http" or scope["path"] in _ALWAYS_ANSWERED:
            await self._app(scope, receive, send)
            return
        rule = self._rules.get(scope["path"]) if scope["method"] == "POST" else None
        try:
            with self._capacity.reserve() as reservation:
                if rule is not None:
                    receive = _replay(await _read(receive, rule, reservation), receive)
                    _check_type(scope, rule)
                reservation.begin()
                async with asyncio.timeout(self._answer_seconds):
                    await self._app(scope, receive, send)
        except (TimeoutError, asyncio.CancelledError):
            # A server that stops cancels what it has no more time for.
            await OverloadedError().response(scope, receive, send)
        except RefusalError as refused:
            await refused.response(scope, receive, send)
        except ClientDisconnect:
            return


async def _read(receive: Receive, rule: BodyRule, reservation: Reservation) -> bytes:
    """Return a body.

    A body that is too large is read to its end and dropped: a client that still sends would miss the answer.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= rule.max_bytes:
            reservation.hold(len(chunk))
            chunks.append(chunk)
        if not message.get("more_body", False):
            if size > rule.max_bytes:
                raise RefusalError(413, "too_large", f"The body is larger than {rule.max_bytes} bytes.")
            return b"".join(chunks)


def _check_type(scope: Scope, rule: BodyRule) -> None:
    types = [value for name, value in scope["headers"] if name == b"content-type"]
    encoded = any(name == b"content-encoding" for name, _ in scope["headers"])
    # Of two types, a proxy may have looked at the other one.
    if len(types) != 1 or encoded or types[0].split(b";")[0].strip().lower() not in rule.media_types:
        accepted = b" or ".join(rule.media_types).decode()
        raise RefusalError(415, "unsupported_media_type", f"Send the body as {accepted}, and not compressed.")


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
