"""Percentiles, rates and timelines of a run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.serving.load_test.measurement import Measurement
from include.serving.load_test.target import Target, TargetError


def measured(latencies: list[float], failed: int = 0, answered_at: list[float] | None = None) -> Measurement:
    finished = answered_at if answered_at is not None else [0.5] * len(latencies)
    return Measurement(4, 10.0, np.array(finished), np.array(latencies), {"HTTP 500": failed} if failed else {}, 0.1)


@given(
    st.lists(st.floats(1e-5, 10), min_size=1, max_size=300), st.integers(0, 50), st.sampled_from([1, 50, 90, 99, 100])
)
def test_a_percentile_is_the_least_latency_that_so_many_requests_kept(
    latencies: list[float], failed: int, percent: int
) -> None:
    found = measured(latencies, failed).percentile_ms(percent) / 1000
    everybody = sorted([*latencies, *[math.inf] * failed])
    within = sum(one <= found * (1 + 1e-9) for one in everybody)
    below = sum(one < found * (1 - 1e-9) for one in everybody)
    assert within * 100 >= percent * len(everybody)
    assert below * 100 < percent * len(everybody)


def test_a_run_without_an_answer_has_no_finite_percentile() -> None:
    assert measured([]).percentile_ms(50) == math.inf


def test_the_timeline_shows_a_pause() -> None:
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
def test_a_request_goes_where_the_address_says(url: str, host: str, address: str) -> None:
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
def test_what_is_no_address_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(TargetError) as refused:
        Target.parse(url)
    assert "secret" not in str(refused.value)
