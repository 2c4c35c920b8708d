"""A running server of a Bento, for tests that ask over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from include.serving.deployment.pointer import BentoReference
from include.settings import Settings
from tests.serving.servers import serving

GOOD: dict[str, Any] = {"recency_days": 12.0, "spend_30d": 80.5, "copy": 3, "segment": "family"}


@dataclass(frozen=True)
class Served:
    """What a test knows of a server: its address, a client without a key, and the file of its log."""

    url: str
    http: httpx.Client
    log: Path

    def predict(self, headers: dict[str, str] | None = None) -> httpx.Response:
        """Ask about a good customer."""
        return self.http.post("/predict", json={"customer_id": "customer", "features": GOOD}, headers=headers)


@contextmanager
def running(bento: BentoReference, settings: Settings, shadow: BentoReference | None = None) -> Iterator[Served]:
    """Run a server until the block ends."""
    log = settings.home / "server.log"
    with (
        serving(bento, settings, log, shadow),
        httpx.Client(base_url=settings.serving.url, timeout=20, trust_env=False) as http,
    ):
        yield Served(settings.serving.url, http, log)
