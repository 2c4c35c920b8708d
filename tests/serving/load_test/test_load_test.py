"""Load tests of real servers: a good endpoint, a slow endpoint, and an endpoint that fails on some requests."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from include.projects.requirements import Mode, Performance
from include.serving.deployment.client import EndpointError
from include.serving.deployment.state import BentoReference
from include.serving.load_test.generator import Measurement
from include.serving.load_test.load_report import document, page
from include.serving.load_test.run import PayloadError, find_limit, load_at, prepare_payloads
from include.settings import ROOT, Settings
from include.training.model.bundle import Bundle
from tests.serving.conftest import free_port
from tests.serving.endpoint.servers import running

pytestmark = pytest.mark.slow

NO_KEY = SecretStr("")
SECONDS = 0.5
STARTED = dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC)
Answers = Callable[[int], tuple[float, int]]
"""Returns the duration of the n-th prediction in seconds, and its status."""


def performance(p99_ms: float = 60_000, per_second: float = 0.1, mode: Mode = "enabled") -> Performance:
    return Performance(
        mode=mode, max_training_hours=1, max_inference_p99_ms=p99_ms, min_predictions_per_second=per_second
    )


def ignore(_: Measurement) -> None:
    """Do nothing with a run."""


def example(probability: float) -> dict[str, Any]:
    requests = {"examples": {"one": {"value": {"customer_id": "1", "features": {"a": 1.0}}}}}
    answers = {"examples": {"one": {"value": {"churn_probability": probability}}}}
    post = {
        "requestBody": {"content": {"application/json": requests}},
        "responses": {"200": {"content": {"application/json": answers}}},
    }
    return {"paths": {"/predict": {"post": post}}}


@contextmanager
def endpoint_that(answers: Answers, probability: float = 0.25, at_once: int = 1000) -> Iterator[str]:
    """Run a server that works on ``at_once`` predictions at a time."""
    numbers, places = count(), asyncio.Semaphore(at_once)

    async def predict(_: Request) -> JSONResponse:
        async with places:
            seconds, status = answers(next(numbers))
            await asyncio.sleep(seconds)
        return JSONResponse({"churn_probability": probability}, status)

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"model_version": "1", "bento": "1-abc"})

    async def openapi(_: Request) -> JSONResponse:
        return JSONResponse(example(0.25))

    app = Starlette(
        routes=[
            Route("/health", health),
            Route("/openapi.json", openapi),
            Route("/predict", predict, methods=["POST"]),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=free_port(), log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.config.port}"
    finally:
        server.should_exit = True
        thread.join()


def command(home: Path, *options: str) -> subprocess.CompletedProcess[str]:
    variables = {key: value for key, value in os.environ.items() if not key.startswith("CHURN_")}
    return subprocess.run(
        [sys.executable, "-m", "include.serving.load_test", "--seconds", "1", *options],
        cwd=ROOT,
        env=variables | {"CHURN_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=600,  # enough for a busy machine
        check=False,
    )


def test_real_endpoint_is_loaded_with_its_samples(
    bento: BentoReference, bundle: Bundle, make_settings: Callable[[], Settings], tmp_path: Path
) -> None:
    with running(bento, make_settings()) as served:
        payloads = prepare_payloads(served.url, NO_KEY)
        assert len(payloads.bodies) == len(bundle.samples)
        assert (payloads.model_version, payloads.bento) == ("7", bento.bento)
        assert load_at(served.url, payloads, performance(), 4, SECONDS, ignore).passed
        assert not load_at(served.url, payloads, performance(per_second=1e9), 4, SECONDS, ignore).passed
        done = command(tmp_path, "--url", served.url, "--connections", "4")
    printed = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == (0 if printed["passed"] else 1), done.stderr
    assert printed["failed"] == 0
    assert printed["answered"] > 0
    folder = Path(printed["evidence"])
    assert folder.parent == tmp_path / "reports" / "grocery" / "load_test"
    kept = json.loads((folder / "load_test.json").read_text())
    assert {key: kept[key] for key in printed if key != "evidence"} == {
        k: v for k, v in printed.items() if k != "evidence"
    }
    assert bento.bento in (folder / "index.html").read_text()


def test_slow_endpoint_misses_the_requirements(tmp_path: Path) -> None:
    with endpoint_that(lambda _: (0.15, 200)) as url:
        done = command(tmp_path, "--url", url, "--connections", "2")
    assert done.returncode == 1
    assert "MISSED (enabled): inference_p99_ms" in done.stdout
    verdicts = json.loads(done.stdout.splitlines()[-1])["verdicts"]
    assert {verdict["name"]: verdict["ok"] for verdict in verdicts} == {
        "inference_p99_ms": False,
        "predictions_per_second": False,
    }
    assert verdicts[0]["found"] >= 150


def test_endpoint_that_fails_on_some_requests_misses_the_requirements() -> None:
    with endpoint_that(lambda number: (0.0, 503 if number % 20 == 19 else 200)) as url:
        test = load_at(url, prepare_payloads(url, NO_KEY), performance(), 4, SECONDS, ignore)
    assert set(test.decisive.errors) == {"HTTP 503"}
    assert not test.passed
    kept = document(test, "synthetic", STARTED)
    assert kept["p50_ms"] is not None
    assert kept["p99_ms"] is None
    assert "never" in page(test, "synthetic", STARTED).html()


@pytest.mark.parametrize(("mode", "checked"), [("enabled", True), ("dry_run", True), ("disabled", False)])
def test_only_an_enabled_requirement_fails_the_test(mode: Mode, checked: bool) -> None:
    with endpoint_that(lambda _: (0.01, 200)) as url:
        test = load_at(url, prepare_payloads(url, NO_KEY), performance(p99_ms=1, mode=mode), 1, SECONDS, ignore)
    assert bool(test.verdicts) == checked
    assert test.passed == (mode != "enabled")


def test_connections_are_doubled_until_the_latency_exceeds_the_requirement() -> None:
    seen: list[Measurement] = []
    with endpoint_that(lambda _: (0.02, 200), at_once=1) as url:
        test = find_limit(url, prepare_payloads(url, NO_KEY), performance(p99_ms=100), SECONDS, seen.append)
    assert list(test.runs) == seen
    assert [run.connections for run in seen] == [2**step for step in range(len(seen))]
    *kept, broken = seen
    assert all(run.percentile_ms(99) <= 100 for run in kept)
    assert broken.percentile_ms(99) > 100
    assert test.decisive.per_second == max(run.per_second for run in kept or seen)


@pytest.mark.parametrize(
    ("answers", "probability", "message"),
    [
        (lambda _: (0.0, 401), 0.25, "answered 401"),
        (lambda _: (0.0, 200), 0.75, "differs from the prediction that training recorded"),
    ],
)
def test_endpoint_with_wrong_predictions_is_not_loaded(answers: Answers, probability: float, message: str) -> None:
    with endpoint_that(answers, probability) as url, pytest.raises(EndpointError, match=message):
        prepare_payloads(url, NO_KEY)


def test_payloads_are_read_from_a_file(tmp_path: Path) -> None:
    bodies = [json.dumps({"customer_id": str(number), "features": {"a": number}}).encode() for number in range(3)]
    (tmp_path / "bodies.jsonl").write_bytes(b"\n".join(bodies) + b"\n\n")
    with endpoint_that(lambda _: (0.0, 200)) as url:
        assert prepare_payloads(url, NO_KEY, tmp_path / "bodies.jsonl").bodies == bodies
        (tmp_path / "bodies.jsonl").write_bytes(b"\n")
        with pytest.raises(PayloadError):
            prepare_payloads(url, NO_KEY, tmp_path / "bodies.jsonl")


def test_error_names_an_endpoint_that_does_not_answer() -> None:
    with pytest.raises(EndpointError, match="gave no answer"):
        prepare_payloads(f"http://127.0.0.1:{free_port()}", NO_KEY)
