"""Clients that send requests to an endpoint continuously and count each missing or wrong response."""

from __future__ import annotations

import http.client
import json
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from include.training.model.bundle import Bundle, predictions_match

_JSON = {"Content-Type": "application/json"}


class Clients(ABC):
    """Clients in threads, from the start of a ``with`` block to its end.

    There are no retries: a request without a response is counted as dropped.

    Args:
        url: The endpoint's base address.
        clients: Number of threads.

    Attributes:
        answers: Correct responses by the model version.
        errors: Responses with another status than 200, and wrong responses.
        dropped: Requests without a response, and refused connections, by the name of the error.
    """

    def __init__(self, url: str, clients: int) -> None:
        self._address = urlsplit(url).netloc
        self._number = clients
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(clients)
        self._clients: list[Future[None]] = []
        self.answers: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()

    @property
    def failed(self) -> Counter[str]:
        """The requests without a correct response."""
        with self._lock:
            return self.errors + self.dropped

    @property
    def sent(self) -> int:
        """The number of requests."""
        return self.answers.total() + self.errors.total() + self.dropped.total()

    def __enter__(self) -> Self:
        self._clients = [self._threads.submit(self._send_requests, number) for number in range(self._number)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._threads.shutdown()
        for client in self._clients:
            client.result()  # raises the error that ended the client

    @abstractmethod
    def _send_requests(self, number: int) -> None:
        """Send the requests of one client until ``_ended`` is set."""

    @abstractmethod
    def _version_of(self, body: bytes) -> str | None:
        """Return the version of the model that sent the response; None if the response is wrong."""

    def _send(self, connection: http.client.HTTPConnection, body: bytes) -> None:
        try:
            connection.request("POST", "/predict", body, _JSON)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            self._count(self.dropped, type(error).__name__)
            return
        if response.status != http.HTTPStatus.OK:
            self._count(self.errors, f"HTTP {response.status}")
            return
        version = self._version_of(content)
        self._count(self.errors if version is None else self.answers, version or "wrong answer")

    def _count(self, counter: Counter[str], key: str) -> None:
        with self._lock:
            counter[key] += 1


class Traffic(Clients):
    """Clients in threads, from the start of a ``with`` block to its end.

    A third of them opens a connection for each request, a third keeps its connection busy, and a third leaves its
    connection idle after each response.

    Args:
        url: The endpoint's base address.
        bundles: The models of the endpoint, by version. Their predictions are the correct responses.
        clients: Number of threads.
        pause_seconds: The pause between two requests of a busy client.
    """

    def __init__(self, url: str, bundles: Mapping[str, Bundle], clients: int = 16, pause_seconds: float = 0.05) -> None:
        super().__init__(url, clients)
        sample = next(iter(bundles.values())).samples[0].features
        self._body = json.dumps({"customer_id": "traffic", "features": sample}).encode()
        columns = {name: [value] for name, value in sample.items()}
        self._expected = {version: float(one.predict(columns)[0]) for version, one in bundles.items()}
        self._pause_seconds = pause_seconds

    def wait_for_answers(self, number: int, seconds: float = 60) -> None:
        """Wait until ``number`` more correct responses have arrived.

        Args:
            number: The number of responses.
            seconds: The longest wait.

        Raises:
            TimeoutError: They did not arrive within ``seconds``.
        """
        wanted, deadline = self.answers.total() + number, time.monotonic() + seconds
        while self.answers.total() < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.answers.total()} answers instead of {wanted}: {self.errors}, {self.dropped}")
            time.sleep(0.02)

    def _send_requests(self, number: int) -> None:
        fresh, idle = number % 3 == 0, number % 3 == 1
        connection = http.client.HTTPConnection(self._address, timeout=30)
        while not self._ended.wait(50 * self._pause_seconds if idle else self._pause_seconds):
            self._send(connection, self._body)
            if fresh:
                connection.close()
        connection.close()

    def _version_of(self, body: bytes) -> str | None:
        try:
            answer = json.loads(body)
            version = str(answer["model_version"])
            right = predictions_match(answer["churn_probability"], self._expected[version])
        # An integer may exceed the range of floats, and JSON may be nested deeper than the parser allows.
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return None
        return version if right else None
