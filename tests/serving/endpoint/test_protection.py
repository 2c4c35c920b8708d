"""What protects the endpoint, as an attacker and a careless client see it: a real server, real sockets."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from include.serving.deployment.pointer import BentoReference
from include.serving.deployment.smoke import smoke_test
from include.serving.endpoint.keys import add_key, revoke_key
from include.settings import Settings
from tests.serving.endpoint.servers import Served, running

pytestmark = pytest.mark.slow

FAILURES = 5


@pytest.fixture(scope="module")
def guarded(make_settings: Callable[[], Settings], key_file: Path, key: str) -> Settings:
    settings = make_settings()
    update = {"api_keys_file": key_file, "api_key": SecretStr(key), "key_failures_per_minute": FAILURES}
    return settings.model_copy(update={"serving": settings.serving.model_copy(update=update)})


@pytest.fixture(scope="module")
def endpoint(bento: BentoReference, guarded: Settings) -> Iterator[Served]:
    with running(bento, guarded) as served:
        yield served


def until(is_so: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.05)
    return is_so()


def test_prediction_needs_a_key(endpoint: Served, key: str) -> None:
    assert endpoint.predict().status_code == 401
    assert endpoint.predict({"X-API-Key": key}).status_code == 200
    assert endpoint.predict({"Authorization": f"Bearer {key}"}).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz", "/metrics"])
def test_probes_and_metrics_are_open(endpoint: Served, path: str) -> None:
    assert endpoint.http.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs.json", "/schema.json", "/openapi.json", "/model", "/predict_batch"])
def test_everything_else_needs_a_key(endpoint: Served, path: str) -> None:
    assert endpoint.http.get(path).status_code in {401, 429}


def test_keys_rotate_while_it_runs(endpoint: Served, key_file: Path, key: str) -> None:
    new = add_key(key_file, "crm-2027")
    assert until(lambda: endpoint.predict({"X-API-Key": new}).status_code == 200)
    revoke_key(key_file, "crm-2027")
    assert until(lambda: endpoint.predict({"X-API-Key": new}).status_code in {401, 429})
    assert endpoint.predict({"X-API-Key": key}).status_code == 200


def test_failures_are_limited_and_a_right_key_still_passes(endpoint: Served, key: str) -> None:
    statuses = [endpoint.predict({"X-API-Key": f"guess-{number}"}).status_code for number in range(FAILURES + 1)]
    assert statuses[-1] == 429
    assert endpoint.predict({"X-API-Key": key}).status_code == 200


def test_deployment_brings_the_products_own_key(bento: BentoReference, guarded: Settings) -> None:
    assert smoke_test(bento, guarded).rows > 0


def test_metrics_say_which_key_is_used(endpoint: Served, key: str) -> None:
    endpoint.predict({"X-API-Key": key})
    assert 'ml_api_key_requests_total{key="crm"}' in endpoint.http.get("/metrics").text


def test_log_and_metrics_hold_no_key(endpoint: Served, key: str) -> None:
    endpoint.predict({"X-API-Key": key})
    endpoint.predict({"X-API-Key": "a-wrong-key"})
    for text in (endpoint.log.read_text(), endpoint.http.get("/metrics").text):
        assert key not in text
        assert "a-wrong-key" not in text
        assert "Traceback" not in text
