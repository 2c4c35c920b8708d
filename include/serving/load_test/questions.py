"""What a load test asks: the examples that the endpoint itself documents, or bodies out of a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr

from include.errors import ChurnflowError
from include.serving.deployment.client import EndpointError, api_key_header
from include.training.model.bundle import predictions_match

PREDICT = "/predict"
_ASKED_BEFORE = 100


class QuestionsError(ChurnflowError):
    """There is nothing that a load test could ask."""


@dataclass(frozen=True)
class Questions:
    """Bodies of ``POST /predict`` that an endpoint has answered well, one by one.

    Attributes:
        bodies: The bodies.
        headers: What goes with each: the API key, where there is one.
        model_version: The version of the model that answered.
        bento: The Bento that it is in.
    """

    bodies: list[bytes]
    headers: dict[str, str]
    model_version: str
    bento: str


def prepare_questions(url: str, api_key: SecretStr, file: Path | None = None) -> Questions:
    """Return what to ask the endpoint at ``url``, after it has answered each body once, or the first hundred.

    Args:
        url: The endpoint's base address.
        api_key: The key to send; empty sends none.
        file: Bodies, one JSON object a line; without it, those of the endpoint's OpenAPI document are asked, which are
            customers that training has recorded.

    Raises:
        EndpointError: The endpoint does not answer, refuses a body, or answers one otherwise than recorded.
        QuestionsError: There is no body to ask.
    """
    headers = api_key_header(api_key)
    # A proxy of the environment is for the outside world.
    with httpx.Client(base_url=url, headers=headers, timeout=10.0, trust_env=False) as http:
        health = _get(http, "/health")
        recorded = _recorded(_get(http, "/openapi.json")) if file is None else [(body, None) for body in _lines(file)]
        for body, probability in recorded[:_ASKED_BEFORE]:
            _ask(http, body, probability)
    return Questions([body for body, _ in recorded], headers, health["model_version"], health["bento"])


def _get(http: httpx.Client, path: str) -> dict[str, Any]:
    try:
        answer = http.get(path)
        content: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise _failed(http, path, f"The endpoint gave no answer ({type(error).__name__}).") from error
    if answer.status_code != httpx.codes.OK:
        raise _failed(http, path, f"The endpoint answered {answer.status_code}.")
    return content


def _ask(http: httpx.Client, body: bytes, probability: float | None) -> None:
    try:
        answer = http.post(PREDICT, content=body, headers={"Content-Type": "application/json"})
    except httpx.HTTPError as error:
        raise _failed(http, PREDICT, f"The endpoint gave no answer ({type(error).__name__}).") from error
    if answer.status_code != httpx.codes.OK:
        raise _failed(http, PREDICT, f"The endpoint answered {answer.status_code} to a body of the test.")
    if probability is not None and not predictions_match(answer.json()["churn_probability"], probability):
        raise _failed(http, PREDICT, "The endpoint's answer is not the one that training has recorded.")


def _failed(http: httpx.Client, path: str, what: str) -> EndpointError:
    remedy = "Check the address, CHURN_SERVING__API_KEY, and the server's log."
    return EndpointError(what, where=f"{http.base_url}".rstrip("/") + path, remedy=remedy)


def _recorded(document: dict[str, Any]) -> list[tuple[bytes, float | None]]:
    """Return the examples of ``POST /predict`` in an OpenAPI document: bodies and the probabilities recorded."""
    try:
        operation = document["paths"][PREDICT]["post"]
        asked = operation["requestBody"]["content"]["application/json"]["examples"]
        answered = operation["responses"]["200"]["content"]["application/json"]["examples"]
        return [
            (json.dumps(asked[name]["value"]).encode(), answered[name]["value"]["churn_probability"])
            for name in answered
        ]
    except KeyError as error:
        raise QuestionsError(
            "The endpoint documents no example of a prediction.",
            where="GET /openapi.json",
            remedy="Give a file of bodies: make loadtest REQUESTS=bodies.jsonl.",
        ) from error


def _lines(file: Path) -> list[bytes]:
    try:
        bodies = [line for line in file.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise QuestionsError(
            f"The file cannot be read ({type(error).__name__}).", where=str(file), remedy="Check its path."
        ) from error
    if not bodies:
        raise QuestionsError("The file is empty.", where=str(file), remedy="Write one JSON body of /predict a line.")
    return bodies
