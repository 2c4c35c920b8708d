"""Clients that send requests to the endpoint during the time-lapse, and count the failed ones."""

from __future__ import annotations

import http.client
import itertools
import json
import random

from benchmarks.traffic import Clients

_SEED = 1


class Requests(Clients):
    """Clients in threads, from the start of a ``with`` block to its end.

    Each request contains the id of a customer, and expects a prediction. Half of the clients open a connection for
    each request, the others keep their connections.

    Args:
        url: The endpoint's base address.
        customers: The ids of customers whose features are in the online store.
        per_second: The number of requests per second.
        clients: The number of threads.
    """

    def __init__(self, url: str, customers: list[str], per_second: float = 20, clients: int = 4) -> None:
        super().__init__(url, clients)
        self._customers = customers
        self._pause_seconds = clients / per_second

    def _send_requests(self, number: int) -> None:
        connection = http.client.HTTPConnection(self._address, timeout=30)
        customers = random.Random(_SEED + number).sample(self._customers, len(self._customers))  # noqa: S311
        for customer in itertools.cycle(customers):
            if self._ended.wait(self._pause_seconds):
                break
            self._send(connection, json.dumps({"customer_id": customer}).encode())
            if number % 2:
                connection.close()
        connection.close()

    def _version_of(self, body: bytes) -> str:
        return str(json.loads(body)["model_version"])
