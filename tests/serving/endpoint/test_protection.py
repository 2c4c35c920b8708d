"""API keys at a real server; test_authentication.py covers the middleware."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from pydantic import SecretStr

from include.serving.deployment.client import EndpointClient
from include.serving.endpoint.keys import add_key, revoke_key
from tests.serving.endpoint.conftest import FAILURES_PER_MINUTE
from tests.serving.endpoint.servers import GOOD, Served

pytestmark = pytest.mark.slow

WRONG_KEY = "a-wrong-key"


def wait_for_status(endpoint: Served, key: str, statuses: set[int]) -> None:
    deadline = time.monotonic() + 60
    while endpoint.predict({"X-API-Key": key}).status_code not in statuses:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz", "/metrics"])
def test_probes_and_metrics_need_no_key(protected_endpoint: Served, path: str) -> None:
    assert protected_endpoint.http.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs.json", "/schema.json", "/openapi.json", "/model", "/predict_batch"])
def test_other_routes_need_a_key(protected_endpoint: Served, path: str) -> None:
    assert protected_endpoint.http.get(path).status_code in {401, 429}


def test_keys_rotate_without_a_restart(protected_endpoint: Served, key_file: Path, key: str) -> None:
    new = add_key(key_file, "crm-2027")
    wait_for_status(protected_endpoint, new, {200})
    revoke_key(key_file, "crm-2027")
    wait_for_status(protected_endpoint, new, {401, 429})
    assert protected_endpoint.predict({"X-API-Key": key}).status_code == 200


def test_failures_are_limited_and_a_valid_key_is_accepted(protected_endpoint: Served, key: str) -> None:
    wrong = {"X-API-Key": WRONG_KEY}
    statuses = [protected_endpoint.predict(wrong).status_code for _ in range(FAILURES_PER_MINUTE + 1)]
    assert statuses[-1] == 429
    assert protected_endpoint.predict({"Authorization": f"Bearer {key}"}).status_code == 200
    metrics = protected_endpoint.http.get("/metrics").text
    assert 'ml_api_key_requests_total{key="crm"}' in metrics
    for text in (protected_endpoint.log.read_text(), metrics):
        assert key not in text
        assert WRONG_KEY not in text
        assert "Traceback" not in text


def test_the_products_client_sends_its_key(protected_endpoint: Served, key: str) -> None:
    client = EndpointClient(protected_endpoint.url, SecretStr(key))
    assert client.predict("sample", GOOD)["customer_id"] == "sample"
