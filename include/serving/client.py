"""How the product itself talks to an endpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from include.errors import ChurnflowError

_POLL_SECONDS = 0.2


class EndpointError(ChurnflowError):
    """An endpoint does not answer, or not as it should."""


@dataclass(frozen=True)
class Health:
    """What an endpoint says that it serves."""

    bento: str
    model_version: str


class EndpointClient:
    """A client of one endpoint.

    Args:
        url: The endpoint's base address.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        # A proxy of the environment is for the outside world.
        self._http = httpx.Client(base_url=url, timeout=10.0, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def health(self) -> Health | None:
        """Return what the endpoint serves; None when it does not answer."""
        try:
            body = self._http.get("/health").raise_for_status().json()
            return Health(bento=body["bento"], model_version=body["model_version"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None

    def wait_for(self, bento: str, seconds: float, still_hopeful: Callable[[], bool] = lambda: True) -> Health:
        """Return the endpoint's health as soon as it serves ``bento``.

        Raises:
            EndpointError: It did not within ``seconds``, or ``still_hopeful`` returned False before.
        """
        deadline = time.monotonic() + seconds
        health = self.health()
        while (health is None or health.bento != bento) and time.monotonic() < deadline and still_hopeful():
            time.sleep(_POLL_SECONDS)
            health = self.health()
        if health is None or health.bento != bento:
            serves = f"serves Bento {health.bento}" if health else "does not answer"
            raise EndpointError(
                f"The endpoint {serves} instead of serving Bento {bento}.",
                where=f"{self.url}/health",
                remedy="Read the server's log.",
            )
        return health

    def predict(self, customer_id: str, features: Mapping[str, Any]) -> dict[str, Any]:
        """Return the endpoint's answer for one customer.

        Raises:
            EndpointError: It refused, and the message names the fields; or it did not answer.
        """
        try:
            response = self._http.post("/predict", json={"customer_id": customer_id, "features": dict(features)})
            body = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise self._failed(f"The endpoint gave no answer ({type(error).__name__}).") from error
        if response.status_code != httpx.codes.OK:
            raise self._failed(f"The endpoint answered {response.status_code}: {body.get('error')}.")
        answer: dict[str, Any] = body
        return answer

    def _failed(self, what: str) -> EndpointError:
        return EndpointError(what, where=f"{self.url}/predict", remedy="Read the server's log.")
