"""Requests made up from the endpoint's own description: whatever comes, the answer is one that is described there."""

from __future__ import annotations

import datetime as dt
import os
from collections import Counter
from collections.abc import Callable, Iterator
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

from include.serving.deployment.pointer import BentoReference
from include.serving.online_store import open_store
from include.settings import Settings
from tests.serving.conftest import synthetic_columns
from tests.serving.endpoint.servers import Served, running

pytestmark = pytest.mark.slow

CASES = int(os.environ.get("CHURN_TEST_CASES", "500"))
"""For each route that takes a body, and each kind of data."""

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def endpoint(bento: BentoReference, make_settings: Callable[[], Settings]) -> Iterator[Served]:
    settings = make_settings()
    store = open_store(settings)
    assert store is not None
    store.put_day(dt.date(2026, 11, 24), pa.table({"customer_id": ["known"], **synthetic_columns(1, seed=5)}))
    with running(bento, settings) as served:
        yield served


@pytest.fixture(scope="module")
def operations(endpoint: Served) -> dict[str, APIOperation]:
    document = endpoint.http.get("/openapi.json").json()
    # Made-up bytes are no Arrow stream, and there is no made-up Arrow.
    del document["paths"]["/predict_batch"]["post"]["requestBody"]["content"][ARROW]
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=endpoint.url)
    return {operation.path: operation for operation in (result.ok() for result in schema.get_all_operations())}


def ask(operation: APIOperation, mode: GenerationMode, cases: int) -> Counter[int]:
    """Send made-up requests, check every answer, and return how often each status came."""
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
def test_every_answer_is_one_that_is_described(
    endpoint: Served, operations: dict[str, APIOperation], path: str, mode: GenerationMode
) -> None:
    logged = endpoint.log.read_text()
    statuses = ask(operations[path], mode, CASES)
    print(path, mode, dict(statuses))
    assert statuses.total() >= CASES
    if mode is GenerationMode.NEGATIVE:
        assert statuses[HTTPStatus.OK] == 0
    assert endpoint.log.read_text() == logged


def test_pages_without_a_body_are_as_described(operations: dict[str, APIOperation]) -> None:
    for path in ("/health", "/model", "/metrics", "/openapi.json"):
        assert set(ask(operations[path], GenerationMode.POSITIVE, 2)) == {HTTPStatus.OK}
