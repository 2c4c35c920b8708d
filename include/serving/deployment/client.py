"""How the product itself talks to an endpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from include.errors import ChurnflowError

_SECONDS = 10.0
_POLL_SECONDS = 0.1
NO_KEY = SecretStr("")
_NO_KEEP_ALIVE = httpx.Limits(max_keepalive_connections=0)
# What the endpoint counts its own errors under.
_ERRORS, _OWN = "ml_prediction_errors_total", "internal"


class EndpointError(ChurnflowError):
    """An endpoint does not answer, or not as it should."""


def api_key_header(api_key: SecretStr) -> dict[str, str]:
    """Return the header that brings ``api_key``; none when it is empty."""
    return {"X-API-Key": api_key.get_secret_value()} if api_key else {}


@dataclass(frozen=True)
class Health:
    """What an endpoint says that it serves."""

    bento: str
    model_version: str


class EndpointClient:
    """A client of one endpoint.

    Every request has a connection of its own, which reaches whoever accepts at that moment.

    Args:
        url: The endpoint's base address.
        api_key: The key to send; empty sends none.
        private: The Unix socket to reach it by, instead of the address.
    """

    def __init__(self, url: str, api_key: SecretStr = NO_KEY, private: Path | None = None) -> None:
        self.url = url
        self._http = httpx.Client(
            base_url=url,
            headers=api_key_header(api_key),
            timeout=_SECONDS,
            transport=httpx.HTTPTransport(uds=str(private) if private else None, limits=_NO_KEEP_ALIVE),
            # A proxy of the environment is for the outside world.
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def health(self, seconds: float = _SECONDS) -> Health | None:
        """Return what the endpoint serves; None when it does not answer within ``seconds``."""
        try:
            body = self._http.get("/health", timeout=seconds).raise_for_status().json()
            return Health(bento=body["bento"], model_version=body["model_version"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None

    def wait_for(self, bento: str, seconds: float) -> Health:
        """Return the endpoint's health as soon as it serves ``bento``.

        Raises:
            EndpointError: It did not within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        health = self.health()
        while (health is None or health.bento != bento) and time.monotonic() < deadline:
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

    def failures(self) -> int:
        """Return how many requests the endpoint could not answer through its own fault, since it started.

        Raises:
            EndpointError: It did not say.
        """
        try:
            text = self._http.get("/metrics").raise_for_status().text
        except httpx.HTTPError as error:
            raise self._failed(f"The endpoint told no metrics ({type(error).__name__}).") from error
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return int(sum(one.value for one in samples if one.name == _ERRORS and one.labels.get("kind") == _OWN))

    def _failed(self, what: str) -> EndpointError:
        return EndpointError(what, where=f"{self.url}/predict", remedy="Read the server's log.")
