"""What is refused before a body is parsed: another content type, and a body that is too large."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from include.serving.requests import refusal

PREDICT_PATH = "/predict"


class BodyGuard:
    """ASGI middleware that lets only JSON bodies of a bounded size reach ``POST /predict``.

    Args:
        app: The application behind it.
        max_body_bytes: The largest body accepted, whether or not the client announces its length.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its body read, or answer 413 or 415."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != PREDICT_PATH:
            await self._app(scope, receive, send)
            return
        body = await self._read(receive)
        if body is None:
            message = f"The body is larger than {self._max_body_bytes} bytes."
            await refusal(413, "too_large", message)(scope, receive, send)
        elif _media_type(scope) != b"application/json":
            message = "Send the body as application/json."
            await refusal(415, "unsupported_media_type", message)(scope, receive, send)
        else:
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """Return the body, or None when it is too large.

        A body that is too large is read to its end and dropped: a client that still sends would miss the answer.
        """
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            chunk = message.get("body", b"")
            size += len(chunk)
            if size <= self._max_body_bytes:
                chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks) if size <= self._max_body_bytes else None


def _media_type(scope: Scope) -> bytes:
    content_type: bytes = dict(scope["headers"]).get(b"content-type", b"")
    return content_type.split(b";")[0].strip().lower()


def _replay(body: bytes, receive: Receive) -> Receive:
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return messages.pop() if messages else await receive()

    return replayed
