"""The HTTP client with which the product sends requests to an endpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from include.errors import ChurnflowError
from include.serving.deployment.state import BentoReference
from include.training.model.bundle import Bundle, Sample, predictions_match

_SECONDS = 10.0
_POLL_SECONDS = 0.1
NO_KEY = SecretStr("")
_NO_KEEP_ALIVE = httpx.Limits(max_keepalive_connections=0)
# The metric of failed requests, and the label value of requests that failed inside the endpoint.
_ERRORS, _INTERNAL = "ml_prediction_errors_total", "internal"


class EndpointError(ChurnflowError):
    """An endpoint refused a request."""


class UnavailableError(EndpointError):
    """An endpoint does not answer, answers with a server error, or serves another Bento."""

    can_retry = True


class SamplesError(ChurnflowError):
    """The predictions of a Bento differ from the recorded samples, or the bundle contains no samples."""


def api_key_header(api_key: SecretStr) -> dict[str, str]:
    """Return the header that contains ``api_key``; empty for an empty key."""
    return {"X-API-Key": api_key.get_secret_value()} if api_key else {}


def bundled_samples(bundle: Bundle) -> tuple[Sample, ...]:
    """Return the samples in a bundle.

    Raises:
        SamplesError: Training recorded no samples.
    """
    samples = bundle.samples
    if not samples:
        raise SamplesError(
            "The bundle contains no samples to compare with.",
            where=f"model of run {bundle.contract.run_id}",
            remedy="Train the model again; training records rows in samples.json.",
        )
    return samples


@dataclass(frozen=True)
class Health:
    """The Bento and the model version that an endpoint reports."""

    bento: str
    model_version: str


class EndpointClient:
    """A client of one endpoint.

    Each request opens a new connection, because only server processes that still accept connections should answer.

    Args:
        url: The endpoint's base address.
        api_key: The API key; no header is sent for an empty key.
        private: The Unix socket of a server process, used in place of the address.
    """

    def __init__(self, url: str, api_key: SecretStr = NO_KEY, private: Path | None = None) -> None:
        self.url = url
        self._http = httpx.Client(
            base_url=url,
            headers=api_key_header(api_key),
            timeout=_SECONDS,
            transport=httpx.HTTPTransport(uds=str(private) if private else None, limits=_NO_KEEP_ALIVE),
            # Requests to the endpoint do not use a proxy from the environment.
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

        Args:
            bento: The version of a Bento.
            seconds: The longest wait.

        Raises:
            UnavailableError: The endpoint did not serve the Bento within ``seconds``.
        """
        deadline = time.monotonic() + seconds
        health = self.health()
        while (health is None or health.bento != bento) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            health = self.health()
        if health is None or health.bento != bento:
            found = f"The endpoint serves Bento {health.bento}" if health else "The endpoint does not answer"
            raise UnavailableError(
                f"{found}; it should serve Bento {bento}.",
                where=f"{self.url}/health",
                remedy="Read the server's log.",
            )
        return health

    def predict(self, customer_id: str, features: Mapping[str, Any]) -> dict[str, Any]:
        """Return the endpoint's prediction for one customer.

        Args:
            customer_id: The customer.
            features: The value of each feature.

        Raises:
            EndpointError: The endpoint answered with an error, or did not answer.
        """
        try:
            response = self._http.post("/predict", json={"customer_id": customer_id, "features": dict(features)})
            body = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise self._failed(f"The endpoint gave no answer ({type(error).__name__}).") from error
        if response.status_code != httpx.codes.OK:
            what = f"The endpoint answered {response.status_code}: {body.get('error')}."
            raise self._failed(what, EndpointError if response.is_client_error else UnavailableError)
        answer: dict[str, Any] = body
        return answer

    def compare(self, reference: BentoReference, samples: Sequence[Sample]) -> float:
        """Compare the endpoint's predictions for ``samples`` with the recorded probabilities.

        Args:
            reference: The Bento that should answer.
            samples: Features and probabilities that training recorded.

        Returns:
            The largest absolute difference between a predicted and a recorded probability.

        Raises:
            EndpointError: The endpoint answered with an error, or did not answer.
            SamplesError: A probability differs by more than the tolerance, or another model answered.
        """
        largest = 0.0
        for position, sample in enumerate(samples):
            answer = self.predict(f"sample-{position}", sample.features)
            probability, version = answer["churn_probability"], answer["model_version"]
            difference = abs(probability - sample.churn_probability)
            if not predictions_match(probability, sample.churn_probability) or version != reference.model_version:
                raise SamplesError(
                    f"Sample {position}: the probability that model version {version} predicted differs from the "
                    f"recorded probability by {difference:.2g}.",
                    where=f"Bento {reference.bento}",
                    remedy="Compare the library versions of training and serving, then train again.",
                )
            largest = max(largest, difference)
        return largest

    def failures(self) -> int:
        """Return the number of requests that failed inside the endpoint since its start.

        Raises:
            UnavailableError: The endpoint returned no metrics.
        """
        try:
            text = self._http.get("/metrics").raise_for_status().text
        except httpx.HTTPError as error:
            raise self._failed(f"The endpoint returned no metrics ({type(error).__name__}).") from error
        series = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return int(sum(one.value for one in series if one.name == _ERRORS and one.labels.get("kind") == _INTERNAL))

    def _failed(self, what: str, kind: type[EndpointError] = UnavailableError) -> EndpointError:
        return kind(what, where=f"{self.url}/predict", remedy="Read the server's log.")
