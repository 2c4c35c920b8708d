"""A local stand-in of Slack: incoming webhooks, and the methods of the API that the product's bot calls."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal
from urllib.parse import parse_qs

CHANNEL = "C0000000001"
TOKEN = "xoxb-1"  # noqa: S105 - of the stand-in only
_PAGE = 2
"""The messages on a page, so that a search needs several pages."""

Stage = Literal["received", "processed", "answered"]
Fault = Literal["none", "429", "500", "processed, then 500"]


class SlackReceiver(ThreadingHTTPServer):
    """The stand-in, on a free port.

    Args:
        faults: The faults of the first requests; later requests have none.

    Attributes:
        messages: The messages in the order of their arrival; those of a webhook have no ``ts``.
        faults: The faults of the next requests.
        on_stage: A function that is called at each stage of a request.
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.messages: list[dict[str, Any]] = []
        self.faults: Iterator[Fault] = iter(faults)
        self.on_stage: Callable[[Stage], None] = lambda _: None
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    @property
    def webhook(self) -> str:
        """The address of the webhooks, without the secret part."""
        return f"http://127.0.0.1:{self.server_port}/services"

    @property
    def api(self) -> str:
        """The address of the API."""
        return f"http://127.0.0.1:{self.server_port}/api/"

    @property
    def texts(self) -> list[str]:
        """All texts of each message, as one text."""
        return [text_of(message) for message in self.messages]

    def next_fault(self) -> Fault:
        """Return the fault of the next request."""
        with self._lock:
            return next(self.faults, "none")

    def process(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        """Process a request, and return the answer.

        Args:
            method: The method of the API, or ``services`` for a webhook.
            body: The arguments.
        """
        with self._lock:
            if method == "services":
                self.messages.append(body)
                return {}
            if body.get("channel") not in (None, CHANNEL):
                return {"ok": False, "error": "channel_not_found"}
            if method == "chat.postMessage":
                ts = f"{next(self._numbers)}.0"
                self.messages.append({**body, "ts": ts})
                return {"ok": True, "channel": body["channel"], "ts": ts}
            if method == "chat.update":
                for message in self.messages:
                    if message["ts"] == body["ts"]:
                        message.update(body)
                        return {"ok": True}
                return {"ok": False, "error": "message_not_found"}
            return self._search(method, body)

    def _search(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        thread = body.get("ts")
        if method == "conversations.replies":
            found = [message for message in self.messages if thread in (message["ts"], message.get("thread_ts"))]
        else:
            found = [message for message in reversed(self.messages) if "thread_ts" not in message]
        start = int(body.get("cursor") or 0)
        more = {"next_cursor": str(start + _PAGE) if start + _PAGE < len(found) else ""}
        return {"ok": True, "messages": found[start : start + _PAGE], "response_metadata": more}


def text_of(message: dict[str, Any]) -> str:
    """Return all texts of a message."""
    parts = [message["text"]]
    for block in message["blocks"]:
        parts += [element["text"] for element in block.get("elements", [])] or [block["text"]["text"]]
    return " ".join(parts)


def key_of(message: dict[str, Any]) -> str:
    """Return the key in the metadata of a bot's message."""
    return str(message["metadata"]["event_payload"]["key"])


class _Handler(BaseHTTPRequestHandler):
    server: SlackReceiver

    def do_POST(self) -> None:
        """Answer one request."""
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Type"].startswith("application/json"):
            body = json.loads(raw)
        else:
            body = {name: values[0] for name, values in parse_qs(raw.decode()).items()}
        method = self.path.split("/")[1] if self.path.startswith("/services") else self.path.rpartition("/")[2]
        self.server.on_stage("received")
        fault = self.server.next_fault()
        answer = self.server.process(method, body) if fault in ("none", "processed, then 500") else {}
        self.server.on_stage("processed")
        self._answer(fault, b"ok" if method == "services" else json.dumps(answer).encode())
        self.server.on_stage("answered")

    def log_message(self, *_: object) -> None:
        """Log nothing, so that the output stays short."""

    def _answer(self, fault: Fault, content: bytes) -> None:
        self.send_response({"none": 200, "429": 429}.get(fault, 500))
        if fault == "429":
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(content if fault == "none" else b"")
        self.wfile.flush()

    def handle(self) -> None:
        """Handle the connection; a client that was killed is not an error."""
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True


@contextmanager
def receiving(faults: Iterable[Fault] = ()) -> Iterator[SlackReceiver]:
    """Run a stand-in.

    Args:
        faults: The faults of the first requests.
    """
    with SlackReceiver(faults) as receiver:
        thread = threading.Thread(target=receiver.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()
