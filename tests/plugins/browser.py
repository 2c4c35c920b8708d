"""A headless Chromium that is controlled over a pipe with the DevTools protocol."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
BINARIES = ("chromium", "chromium-browser", "google-chrome")


def find_chromium() -> str | None:
    """Return the path of Chromium; None if it is not installed."""
    return next((path for name in BINARIES if (path := shutil.which(name))), None)


class Tab:
    """A tab of a browser.

    Attributes:
        problems: Messages of the console and of the browser with level ``warning`` or ``error``, such as blocked
            resources.
    """

    def __init__(self, requests: Any, answers: Any) -> None:
        self.problems: list[str] = []
        self._requests, self._answers = requests, answers
        self._number, self._session = 0, ""
        self._events: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Log", "Runtime", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol, and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._requests.write(json.dumps(message).encode() + b"\0")
        self._requests.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, address: str, width: int, height: int = 900, scheme: str = "light") -> None:
        """Load a page in a window of a size, with a preferred colour scheme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self._events.clear()
        self.call("Page.navigate", url=address)
        while "Page.loadEventFired" not in self._events:
            self._next()

    def width(self) -> int:
        """Return the width of the content; it is larger than the window if the page scrolls horizontally."""
        return int(self.call("Page.getLayoutMetrics")["cssContentSize"]["width"])

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def _next(self) -> dict[str, Any]:
        content = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("Chromium has ended.")
            content += byte
        message: dict[str, Any] = json.loads(content)
        method, parameters = message.get("method", ""), message.get("params", {})
        self._events.append(method)
        if method == "Log.entryAdded" and parameters["entry"]["level"] in ("warning", "error"):
            self.problems.append(parameters["entry"]["text"])
        if method == "Runtime.consoleAPICalled" and parameters["type"] in ("warning", "error"):
            self.problems.append(str(parameters["args"]))
        return message


@contextmanager
def browser(binary: str, profile: Path) -> Iterator[Tab]:
    """Run Chromium until the block ends.

    Args:
        binary: The path of Chromium.
        profile: The folder of its files.
    """
    # Chromium reads from descriptor 3 and writes to descriptor 4.
    (read, requests), (answers, write) = os.pipe(), os.pipe()
    child = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10) for descriptor in (read, write)]
    process = subprocess.Popen(
        [binary, *FLAGS, f"--user-data-dir={profile}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(3, 4),
        preexec_fn=lambda: [os.dup2(descriptor, place) for place, descriptor in enumerate(child, 3)],
    )
    for descriptor in (read, write, *child):
        os.close(descriptor)
    try:
        with os.fdopen(requests, "wb") as to, os.fdopen(answers, "rb") as answered:
            tab = Tab(to, answered)
            yield tab
            tab.call("Target.getTargets")  # no event is lost
    finally:
        process.terminate()
        process.wait()
