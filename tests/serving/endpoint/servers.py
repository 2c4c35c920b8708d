"""A running server of a Bento, for tests over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from include.serving.deployment.state import BentoReference
from include.settings import Settings
from tests.serving.servers import serving

GOOD: dict[str, Any] = {"recency_days": 12.0, "spend_30d": 80.5, "copy": 3, "segment": "family"}
PRIVATE = "customer-4711-private"
"""A value that must not appear in error responses, logs and metrics."""


@dataclass(frozen=True)
class Served:
    """A running server: its address, a client without an API key, and the file of its log."""

    url: str
    http: httpx.Client
    log: Path

    @property
    def address(self) -> tuple[str, int]:
        """Return the host and the port."""
        url = httpx.URL(self.url)
        return url.host, url.port or 80

    def predict(self, headers: dict[str, str] | None = None) -> httpx.Response:
        """Send a valid request."""
        return self.http.post("/predict", json={"customer_id": "customer", "features": GOOD}, headers=headers)

    def post(self, content: bytes | str, content_type: str = "application/json") -> httpx.Response:
        """Send a body to ``/predict``."""
        return self.http.post("/predict", content=content, headers={"Content-Type": content_type})

    def predict_features(self, features: Any, customer_id: object = PRIVATE) -> httpx.Response:
        """Send features, which need not be valid."""
        return self.post(json.dumps({"customer_id": customer_id, "features": features}))

    def metric(self, start: str) -> float:
        """Return the sum of the samples whose line starts with ``start``."""
        lines = self.http.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(start))


@contextmanager
def running(bento: BentoReference, settings: Settings, shadow: BentoReference | None = None) -> Iterator[Served]:
    """Run a server until the block ends.

    Args:
        bento: The Bento.
        settings: The server's settings.
        shadow: The Bento of a shadow model.
    """
    log = settings.home / "server.log"
    with (
        serving(bento, settings, log, shadow),
        httpx.Client(base_url=settings.serving.url, timeout=60, trust_env=False) as http,
    ):
        yield Served(settings.serving.url, http, log)
