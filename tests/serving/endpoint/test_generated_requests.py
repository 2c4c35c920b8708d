"""Requests generated from the OpenAPI document: every response conforms to the document."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections import Counter
from http import HTTPStatus

import hypothesis
import pyarrow as pa
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from include.serving.online_store import open_store
from include.settings import Settings
from tests.serving.conftest import synthetic_columns
from tests.serving.endpoint.servers import Served

pytestmark = pytest.mark.slow

CASES = int(os.environ.get("CHURN_TEST_CASES", "500"))
"""Requests for each route with a body, and for each generation mode."""

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module", autouse=True)
def stored(settings: Settings) -> None:
    """Create an online store with one customer for the endpoint."""
    store = open_store(settings)
    assert store is not None
    store.put_day(dt.date(2026, 11, 24), pa.table({"customer_id": ["known"], **synthetic_columns(1, seed=5)}))
    asyncio.run(store.close())


@pytest.fixture(scope="module")
def operations(endpoint: Served) -> dict[str, APIOperation]:
    document = endpoint.http.get("/openapi.json").json()
    # Schemathesis cannot generate Arrow streams.
    del document["paths"]["/predict_batch"]["post"]["requestBody"]["content"][ARROW]
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=endpoint.url)
    return {operation.path: operation for operation in (result.ok() for result in schema.get_all_operations())}


def send_generated(operation: APIOperation, mode: GenerationMode, cases: int) -> Counter[int]:
    """Send generated requests, check every response, and return the number of responses by status."""
    statuses: Counter[int] = Counter()

    with requests.Session() as session:
        session.trust_env = False

        @given(case=operation.as_strategy(generation_mode=mode))
        @hypothesis.settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        def conforms(case: Case) -> None:
            response = case.call(session=session)
            case.validate_response(response, checks=CHECKS)
            statuses[response.status_code] += 1

        conforms()
    return statuses


@pytest.mark.parametrize("path", ["/predict", "/predict_batch"])
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_responses_conform_to_the_document(
    endpoint: Served, operations: dict[str, APIOperation], path: str, mode: GenerationMode
) -> None:
    logged = endpoint.log.read_text()
    statuses = send_generated(operations[path], mode, CASES)
    print(path, mode, dict(statuses))
    assert statuses.total() >= CASES
    if mode is GenerationMode.NEGATIVE:
        assert statuses[HTTPStatus.OK] == 0
    assert endpoint.log.read_text() == logged


def test_routes_without_a_body_conform_to_the_document(operations: dict[str, APIOperation]) -> None:
    for path in ("/health", "/model", "/metrics", "/openapi.json"):
        assert set(send_generated(operations[path], GenerationMode.POSITIVE, 2)) == {HTTPStatus.OK}
