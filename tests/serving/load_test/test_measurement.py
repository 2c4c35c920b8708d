"""Percentiles, rates and timelines of a run, and the addresses of endpoints."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.serving.load_test.generator import Measurement, Target, TargetError


def measured(latencies: list[float], failed: int = 0, answered_at: list[float] | None = None) -> Measurement:
    finished = answered_at if answered_at is not None else [0.5] * len(latencies)
    return Measurement(4, 10.0, np.array(finished), np.array(latencies), {"HTTP 500": failed} if failed else {}, 0.1)


@given(
    st.lists(st.floats(1e-5, 10), min_size=1, max_size=300), st.integers(0, 50), st.sampled_from([1, 50, 90, 99, 100])
)
def test_percentile_is_the_smallest_latency_that_covers_the_share(
    latencies: list[float], failed: int, percent: int
) -> None:
    found = measured(latencies, failed).percentile_ms(percent) / 1000
    all_requests = sorted([*latencies, *[math.inf] * failed])
    within = sum(one <= found * (1 + 1e-9) for one in all_requests)
    below = sum(one < found * (1 - 1e-9) for one in all_requests)
    assert within * 100 >= percent * len(all_requests)
    assert below * 100 < percent * len(all_requests)


def test_percentile_without_a_response_is_infinite() -> None:
    assert measured([]).percentile_ms(50) == math.inf


def test_timeline_shows_a_pause() -> None:
    run = measured([0.01] * 30, answered_at=[*np.linspace(0, 1.9, 20), *np.linspace(8, 10.5, 10)])
    timeline = run.timeline(buckets=5)
    assert [part["second"] for part in timeline] == [0, 2, 4, 6, 8]
    assert [part["per_second"] for part in timeline][:4] == [10, 0, 0, 0]
    assert timeline[1]["p99_ms"] is None
    assert timeline[0]["p99_ms"] == pytest.approx(10)
    assert run.per_second == sum(part["per_second"] for part in timeline) * 2 / 10


@pytest.mark.parametrize(
    ("url", "host", "address"),
    [
        ("http://127.0.0.1:3000", "127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("https://churn.example.com/models/", "churn.example.com:443", "https://churn.example.com:443/models"),
        ("http://[::1]:8000", "[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_request_has_the_host_and_path_of_the_address(url: str, host: str, address: str) -> None:
    target = Target.parse(url)
    assert target.url == address
    request = target.post("/predict", b"{}", "application/json", {"X-Api-Key": "k"})
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == f"POST {target.path}/predict HTTP/1.1"
    assert {f"Host: {host}", "Content-Length: 2", "Content-Type: application/json", "X-Api-Key: k"} == set(lines[1:])
    assert body == b"{}"


@pytest.mark.parametrize(
    "url", ["", "churn.example.com", "ftp://host", "http://", "http://host:port", "http://user:secret@host"]
)
def test_invalid_address_is_rejected_without_its_password(url: str) -> None:
    with pytest.raises(TargetError) as rejected:
        Target.parse(url)
    assert "secret" not in str(rejected.value)
