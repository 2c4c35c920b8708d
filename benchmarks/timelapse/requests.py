"""Clients that send requests to the endpoint during the time-lapse, and count the failed ones."""

from __future__ import annotations

import http.client
import itertools
import json
import random
from collections import Counter

from benchmarks.traffic import Clients

_JSON = {"Content-Type": "application/json"}
_SEED = 1


class Requests(Clients):
    """Clients in threads, from the start of a ``with`` block to its end.

    Each request contains the id of a customer, and expects a prediction. Half of the clients open a connection for
    each request, the others keep their connections. There are no retries.

    Args:
        url: The endpoint's base address.
        customers: The ids of customers whose features are in the online store.
        per_second: The number of requests per second.
        clients: The number of threads.

    Attributes:
        sent: The number of requests.
        versions: The correct responses by the model version.
        failed: The other requests by the status of the response, or by the name of the error.
    """

    def __init__(self, url: str, customers: list[str], per_second: float = 20, clients: int = 4) -> None:
        super().__init__(url, clients)
        self._customers = customers
        self._pause_seconds = clients / per_second
        self.versions: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    @property
    def sent(self) -> int:
        """The number of requests."""
        return self.versions.total() + self.failed.total()

    def _send_requests(self, number: int) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        customers = random.Random(_SEED + number).sample(self._customers, len(self._customers))  # noqa: S311
        for customer in itertools.cycle(customers):
            if self._ended.wait(self._pause_seconds):
                break
            self._count(*self._send(connection, customer))
            if number % 2:
                connection.close()
        connection.close()

    def _send(self, connection: http.client.HTTPConnection, customer: str) -> tuple[Counter[str], str]:
        try:
            connection.request("POST", "/predict", json.dumps({"customer_id": customer}).encode(), _JSON)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return self.failed, type(error).__name__
        if response.status != http.HTTPStatus.OK:
            return self.failed, f"HTTP {response.status}"
        return self.versions, str(json.loads(body)["model_version"])
