"""A load test: payloads, load, and verdicts by the project's requirements."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from pydantic import SecretStr

from include.errors import ChurnflowError
from include.projects.requirements import Performance
from include.serving.deployment.client import EndpointError, api_key_header
from include.serving.load_test.generator import Measurement, Target, generate_load
from include.training.evaluation.requirements import Verdict
from include.training.model.bundle import predictions_match

_PREDICT = "/predict"
_VERIFIED_PAYLOADS = 100
_LONGEST_WARM_UP = 2.0
_MOST_CONNECTIONS = 1024


class PayloadError(ChurnflowError):
    """There is no payload to send."""


@dataclass(frozen=True)
class Payloads:
    """Bodies of ``POST /predict``, and the model that answered them one by one before the load.

    Attributes:
        bodies: The bodies.
        headers: The headers of each request: the API key, if it is set.
        model_version: The version of the model.
        bento: The Bento of the model.
    """

    bodies: list[bytes]
    headers: dict[str, str]
    model_version: str
    bento: str


@dataclass(frozen=True)
class LoadTest:
    """The result of a load test.

    Attributes:
        url: The endpoint.
        payloads: The bodies sent, and the model that answered.
        runs: One run, or several with increasing numbers of connections.
        decisive: The run that is compared with the requirements.
        verdicts: The project's requirements for that run; empty if they are disabled.
    """

    url: str
    payloads: Payloads
    runs: Sequence[Measurement]
    decisive: Measurement
    verdicts: Sequence[Verdict]

    @property
    def passed(self) -> bool:
        """Whether all requirements with mode ``enabled`` were met."""
        return all(verdict.ok for verdict in self.verdicts if verdict.mode == "enabled")


OnRun = Callable[[Measurement], None]


def prepare_payloads(url: str, api_key: SecretStr, file: Path | None = None) -> Payloads:
    """Return the payloads for the endpoint at ``url``, after it has answered the first hundred one by one.

    Args:
        url: The endpoint's base address.
        api_key: The API key; no header is sent for an empty key.
        file: A file with one JSON body per line; by default the examples of the endpoint's OpenAPI document are used,
            which are samples that training recorded.

    Raises:
        EndpointError: The endpoint does not answer, answers a payload with an error, or differs from a sample.
        PayloadError: There is no payload.
    """
    headers = api_key_header(api_key)
    # Requests to the endpoint do not use a proxy from the environment.
    with httpx.Client(base_url=url, headers=headers, timeout=10.0, trust_env=False) as http:
        health = _get(http, "/health")
        recorded = _examples(_get(http, "/openapi.json")) if file is None else [(body, None) for body in _lines(file)]
        for body, probability in recorded[:_VERIFIED_PAYLOADS]:
            _verify(http, body, probability)
    return Payloads([body for body, _ in recorded], headers, health["model_version"], health["bento"])


def load_at(
    url: str, payloads: Payloads, performance: Performance, connections: int, seconds: float, on_run: OnRun
) -> LoadTest:
    """Load an endpoint with a fixed number of connections, and compare the result with the requirements.

    Args:
        url: The endpoint's base address.
        payloads: The bodies to send.
        performance: The project's requirements.
        connections: The number of concurrent requests.
        seconds: The duration of the load.
        on_run: Called with the run after its end.

    Raises:
        TargetError: ``url`` is not a valid address.
    """
    run = _load(url, payloads, connections, seconds)
    on_run(run)
    return LoadTest(url, payloads, [run], run, check_requirements(run, performance))


def find_limit(url: str, payloads: Payloads, performance: Performance, seconds: float, on_run: OnRun) -> LoadTest:
    """Double the number of connections until the latency exceeds the requirement, or too many requests fail.

    The decisive run is the run with the highest throughput within the required latency, or the first run if no run is
    within it.

    Args:
        url: The endpoint's base address.
        payloads: The bodies to send.
        performance: The project's requirements.
        seconds: The duration of each run.
        on_run: Called with each run after its end.

    Raises:
        TargetError: ``url`` is not a valid address.
    """
    runs: list[Measurement] = []
    for connections in _doubling():
        runs.append(_load(url, payloads, connections, seconds))
        on_run(runs[-1])
        if not _is_fast_enough(runs[-1], performance):
            break
    kept = [run for run in runs if _is_fast_enough(run, performance)] or runs[:1]
    decisive = max(kept, key=lambda run: run.per_second)
    return LoadTest(url, payloads, runs, decisive, check_requirements(decisive, performance))


def check_requirements(run: Measurement, performance: Performance) -> list[Verdict]:
    """Compare a run with the project's requirements; a failed request has an infinite latency.

    Args:
        run: The run.
        performance: The project's requirements.
    """
    if performance.mode == "disabled":
        return []
    p99, rate = performance.max_inference_p99_ms, performance.min_predictions_per_second
    return [
        Verdict("inference_p99_ms", "max", p99, run.percentile_ms(99), "under_load", performance.mode),
        Verdict("predictions_per_second", "min", rate, run.per_second, "under_load", performance.mode),
    ]


def machine() -> dict[str, str | int]:
    """Return a description of the machine that generates the load."""
    return {
        "cores": os.cpu_count() or 1,
        "processor": _processor(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }


def _get(http: httpx.Client, path: str) -> dict[str, Any]:
    try:
        answer = http.get(path)
        content: dict[str, Any] = answer.json()
    except (httpx.HTTPError, ValueError) as error:
        raise _failed(http, path, f"The endpoint gave no answer ({type(error).__name__}).") from error
    if answer.status_code != httpx.codes.OK:
        raise _failed(http, path, f"The endpoint answered {answer.status_code}.")
    return content


def _verify(http: httpx.Client, body: bytes, probability: float | None) -> None:
    try:
        answer = http.post(_PREDICT, content=body, headers={"Content-Type": "application/json"})
    except httpx.HTTPError as error:
        raise _failed(http, _PREDICT, f"The endpoint gave no answer ({type(error).__name__}).") from error
    if answer.status_code != httpx.codes.OK:
        raise _failed(http, _PREDICT, f"The endpoint answered {answer.status_code} to a payload of the test.")
    if probability is not None and not predictions_match(answer.json()["churn_probability"], probability):
        raise _failed(http, _PREDICT, "The endpoint's prediction differs from the prediction that training recorded.")


def _failed(http: httpx.Client, path: str, what: str) -> EndpointError:
    remedy = "Check the address, CHURN_SERVING__API_KEY, and the server's log."
    return EndpointError(what, where=f"{http.base_url}".rstrip("/") + path, remedy=remedy)


def _examples(document: dict[str, Any]) -> list[tuple[bytes, float | None]]:
    """Return the examples of ``POST /predict`` in an OpenAPI document: bodies, and the recorded probabilities."""
    try:
        operation = document["paths"][_PREDICT]["post"]
        requests = operation["requestBody"]["content"]["application/json"]["examples"]
        answers = operation["responses"]["200"]["content"]["application/json"]["examples"]
        return [
            (json.dumps(requests[name]["value"]).encode(), answers[name]["value"]["churn_probability"])
            for name in answers
        ]
    except KeyError as error:
        raise PayloadError(
            "The OpenAPI document contains no example of a prediction.",
            where="GET /openapi.json",
            remedy="Name a file of bodies: make loadtest REQUESTS=bodies.jsonl.",
        ) from error


def _lines(file: Path) -> list[bytes]:
    try:
        bodies = [line for line in file.read_bytes().splitlines() if line.strip()]
    except OSError as error:
        raise PayloadError(
            f"The file cannot be read ({type(error).__name__}).", where=str(file), remedy="Check its path."
        ) from error
    if not bodies:
        raise PayloadError("The file is empty.", where=str(file), remedy="Write one JSON body of /predict per line.")
    return bodies


def _load(url: str, payloads: Payloads, connections: int, seconds: float) -> Measurement:
    target = Target.parse(url)
    requests = [target.post(_PREDICT, body, "application/json", payloads.headers) for body in payloads.bodies]
    # A warm-up, because the first requests of a connection, and of an idle server, are slower.
    generate_load(target, requests, connections, min(_LONGEST_WARM_UP, seconds / 10))
    return generate_load(target, requests, connections, seconds)


def _is_fast_enough(run: Measurement, performance: Performance) -> bool:
    return run.percentile_ms(99) <= performance.max_inference_p99_ms


def _doubling() -> Iterator[int]:
    connections = 1
    while connections <= _MOST_CONNECTIONS:
        yield connections
        connections *= 2


def _processor() -> str:
    # On Linux the platform module returns only the architecture.
    cpuinfo = Path("/proc/cpuinfo")
    for line in cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
