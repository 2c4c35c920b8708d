"""Send every hostile request, in several segmentations, and count the wrong responses."""

from __future__ import annotations

import json
import resource
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import httpx
import pyarrow as pa

from benchmarks.attacks.body_cases import body_cases, half_closed_cases, monitoring_cases, sequence_cases
from benchmarks.attacks.cases import Case
from benchmarks.attacks.framing_cases import chunk_cases, length_cases, upgrade_cases
from benchmarks.attacks.head_cases import expectation_cases, header_cases, size_cases, target_cases

IDLE_CONNECTIONS = 4_400
"""More connections than a server process accepts by default."""

_MONITORING = ("/health", "/livez", "/readyz", "/metrics")
_THREADS = 8
_TIMEOUT_SECONDS = 30.0
_PAUSE_SECONDS = 0.1
_PACKET_BYTES = 1_460
_MOST_SINGLE_BYTES = 400
# A request to the server after each case; no response to it is allowed after a malformed request.
_NEXT = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
_ERROR_KEYS = {"kind", "message", "fields"}


@dataclass(frozen=True)
class Answer:
    """One response; interim responses (1xx) do not count.

    Attributes:
        status: The HTTP status.
        body: The body.
    """

    status: int
    body: bytes


@dataclass
class RequestFigures:
    """The responses of a server to hostile requests, as counts.

    Attributes:
        requests: The number of requests sent.
        answers_5xx: The number of responses with a status of 500 or above.
        smuggled: The number of responses to bytes that are not a request.
        findings: One line for each case and segmentation with responses that are not allowed.
    """

    requests: int = 0
    answers_5xx: int = 0
    smuggled: int = 0
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Exchange:
    """One connection.

    Attributes:
        case: The case.
        segmentation: A description of how the bytes are divided.
        parts: The bytes of the case, and of a request after it unless the client closes its side.
        pause_seconds: The time between two parts.
    """

    case: Case
    segmentation: str
    parts: Sequence[bytes]
    pause_seconds: float = 0.0


def hostile_cases(samples: Sequence[Mapping[str, Any]]) -> list[Case]:
    """Return all cases.

    Args:
        samples: The features of some customers, which are valid for the model.
    """
    body, batch = _body(samples[0]), _batch(samples)
    return [
        *upgrade_cases(body),
        *length_cases(body),
        *chunk_cases(body),
        *header_cases(),
        *target_cases(),
        *size_cases(body),
        *expectation_cases(body),
        *body_cases(body, batch),
        *monitoring_cases(),
        *sequence_cases(body),
        *half_closed_cases(body),
    ]


def exchanges_of(case: Case) -> Iterator[Exchange]:
    """Return the exchanges of a case: its bytes in one part, in two or three parts with pauses, and in many parts."""
    after = b"" if case.half_closed else _NEXT
    head, end, rest = case.sent.partition(b"\r\n\r\n")
    yield Exchange(case, "whole", [case.sent + after])
    if end:
        yield Exchange(case, "body later", [head + end, rest + after], _PAUSE_SECONDS)
        yield Exchange(case, "end of the head later", [head + end[:2], end[2:] + rest, after], _PAUSE_SECONDS)
    sent = case.sent + after
    size = 1 if len(sent) <= _MOST_SINGLE_BYTES else _PACKET_BYTES
    if len(sent) > size:
        yield Exchange(case, f"{size} at a time", [sent[start : start + size] for start in range(0, len(sent), size)])


def run_requests(url: str, samples: Sequence[Mapping[str, Any]]) -> RequestFigures:
    """Send all cases in all segmentations, then hold more idle connections than the server accepts.

    Args:
        url: The endpoint, without TLS.
        samples: The features of some customers, which are valid for the model.
    """
    figures = run_exchanges(url, [exchange for case in hostile_cases(samples) for exchange in exchanges_of(case)])
    _exhaust(url, _body(samples[0]), figures)
    return figures


def run_exchanges(url: str, exchanges: Sequence[Exchange]) -> RequestFigures:
    """Run exchanges, several at a time.

    Args:
        url: The endpoint, without TLS.
        exchanges: The exchanges.
    """
    figures = RequestFigures()
    address = _address(url)
    with ThreadPoolExecutor(_THREADS) as threads:
        for exchange, answers in zip(exchanges, threads.map(partial(_run, address), exchanges), strict=True):
            _compare(exchange, answers, figures)
    return figures


def _address(url: str) -> tuple[str, int]:
    parts = httpx.URL(url)
    return parts.host, parts.port or 80


def _run(address: tuple[str, int], exchange: Exchange) -> list[Answer]:
    """Send the parts on a new connection, and return the responses up to its end."""
    with socket.create_connection(address, _TIMEOUT_SECONDS) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The server may end the connection while the client is sending.
        with suppress(ConnectionError):
            for number, part in enumerate(exchange.parts):
                if number:
                    time.sleep(exchange.pause_seconds)
                client.sendall(part)
            if exchange.case.half_closed:
                client.shutdown(socket.SHUT_WR)
        received = b""
        with suppress(ConnectionError, TimeoutError):
            while chunk := client.recv(2**16):
                received += chunk
    return list(_answers(received, exchange.case.sent.startswith(b"HEAD")))


def _answers(received: bytes, first_has_no_body: bool) -> Iterator[Answer]:
    while received:
        head, _, received = received.partition(b"\r\n\r\n")
        status_line, *lines = head.split(b"\r\n")
        status = int(status_line.split(b" ")[1]) if status_line.startswith(b"HTTP/1.1 ") else 0
        if 100 <= status < 200:  # interim responses
            continue
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        size = 0 if first_has_no_body else int(headers.get(b"content-length", b"0"))
        first_has_no_body = False
        yield Answer(status, received[:size])
        received = received[size:]


def _compare(exchange: Exchange, answers: Sequence[Answer], figures: RequestFigures) -> None:
    """Compare the responses with those that are allowed, and add the result to the figures."""
    case = exchange.case
    statuses = [answer.status for answer in answers]
    requests = len(case.allowed) + (not case.half_closed)
    figures.requests += requests
    figures.answers_5xx += sum(status >= 500 for status in statuses)
    most = len(case.allowed) if case.closes else len(case.allowed) + 1
    figures.smuggled += max(0, len(answers) - most)
    expected = [*case.allowed, frozenset({200})]
    lengths = {most} if case.closes is not None else {most, most - 1}
    is_allowed = len(answers) in lengths and all(status in fit for status, fit in zip(statuses, expected, strict=False))
    if not is_allowed:
        figures.findings.append(f"{case.name} ({exchange.segmentation}): {statuses}")
    elif wrong := [answer for answer in answers if not _has_the_error_form(case, answer)]:
        figures.findings.append(
            f"{case.name} ({exchange.segmentation}): {wrong[0].body[:100]!r} does not have the form of an error"
        )


def _has_the_error_form(case: Case, answer: Answer) -> bool:
    if answer.status < 400 or case.sent.startswith(b"HEAD"):
        return True
    try:
        return set(json.loads(answer.body)["error"]) == _ERROR_KEYS
    except (ValueError, KeyError, TypeError):
        return False


def _exhaust(url: str, body: bytes, figures: RequestFigures) -> None:
    """Hold idle connections, and meanwhile send a prediction and the requests of monitoring."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with ExitStack() as stack:
            for _ in range(IDLE_CONNECTIONS):
                stack.enter_context(socket.create_connection(_address(url), _TIMEOUT_SECONDS))
            for path in (*_MONITORING, "/predict"):
                figures.requests += 1
                try:
                    # Each request opens a new connection.
                    with httpx.Client(base_url=url, trust_env=False, timeout=_TIMEOUT_SECONDS) as http:
                        headers = {"Content-Type": "application/json"}
                        answer = (
                            http.post(path, content=body, headers=headers) if path == "/predict" else http.get(path)
                        )
                    status: object = answer.status_code
                except httpx.HTTPError as error:
                    status = type(error).__name__
                if status != httpx.codes.OK:
                    figures.findings.append(f"{path} with {IDLE_CONNECTIONS} idle connections: {status}")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _body(sample: Mapping[str, Any]) -> bytes:
    return json.dumps({"customer_id": "customer", "features": sample}).encode()


def _batch(samples: Sequence[Mapping[str, Any]]) -> bytes:
    columns = {name: [sample[name] for sample in samples] for name in samples[0]}
    table = pa.table({"customer_id": [f"customer-{number}" for number in range(len(samples))], **columns})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue().to_pybytes())
