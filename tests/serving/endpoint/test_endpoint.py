"""The endpoint as a caller sees it: a real server, real HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from include.serving.deployment.pointer import BentoReference
from include.serving.endpoint.requests import RequestReader
from include.settings import Settings
from include.training.model.bundle import Bundle
from include.training.model.explain import explain
from tests.serving.conftest import synthetic_columns
from tests.serving.servers import serving

pytestmark = pytest.mark.slow

SECRET = "customer-4711-private"
GOOD: dict[str, Any] = {"recency_days": 12.0, "spend_30d": 80.5, "copy": 3, "segment": "family"}


class Endpoint:
    def __init__(self, url: str, log: Path) -> None:
        self.http = httpx.Client(base_url=url, timeout=20, trust_env=False)
        self.url = url
        self.log = log

    def post(self, content: bytes | str, content_type: str = "application/json") -> httpx.Response:
        return self.http.post("/predict", content=content, headers={"Content-Type": content_type})

    def predict(self, features: dict[str, Any], customer_id: object = SECRET) -> httpx.Response:
        return self.post(json.dumps({"customer_id": customer_id, "features": features}))


@pytest.fixture(scope="module")
def endpoint(
    bento: BentoReference, make_settings: Callable[[], Settings], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    settings = make_settings()
    log = tmp_path_factory.mktemp("endpoint") / "server.log"
    with serving(bento, settings, log):
        yield Endpoint(settings.serving.url, log)


def test_health_names_the_model(endpoint: Endpoint, bento: BentoReference) -> None:
    body = endpoint.http.get("/health").json()
    assert body == {"status": "healthy", "model_loaded": True, "model_version": "7", "bento": bento.bento}


def test_answers_as_the_booster_does(endpoint: Endpoint, bundle: Bundle) -> None:
    columns = synthetic_columns(25, seed=99)
    expected = bundle.predict(columns)
    for row in range(25):
        answer = endpoint.predict({name: columns[name][row] for name in columns}, f"customer-{row}").json()
        assert answer["churn_probability"] == pytest.approx(float(expected[row]), abs=1e-6)
        assert answer == {
            "customer_id": f"customer-{row}",
            "churn_probability": answer["churn_probability"],
            "prediction": "churn" if expected[row] >= bundle.contract.threshold else "retain",
            "model_version": "7",
        }


def test_order_of_features_does_not_matter(endpoint: Endpoint) -> None:
    reverse = dict(reversed(GOOD.items()))
    assert endpoint.predict(GOOD).json() == endpoint.predict(reverse).json()


def test_requests_at_the_same_time_get_their_own_answers(endpoint: Endpoint, bundle: Bundle) -> None:
    columns = synthetic_columns(40, seed=3)
    expected = bundle.predict(columns)

    async def ask_all() -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=endpoint.url, timeout=20, trust_env=False) as http:
            rows = [{name: columns[name][row] for name in columns} for row in range(40)]
            bodies = [{"customer_id": str(row), "features": features} for row, features in enumerate(rows)]
            return [answer.json() for answer in await asyncio.gather(*(http.post("/predict", json=b) for b in bodies))]

    for row, answer in enumerate(asyncio.run(ask_all())):
        assert answer["customer_id"] == str(row)
        assert answer["churn_probability"] == pytest.approx(float(expected[row]), abs=1e-6)


def test_predictions_are_counted_by_answer_and_version(endpoint: Endpoint) -> None:
    endpoint.predict(GOOD)
    metrics = endpoint.http.get("/metrics").text
    assert 'ml_predictions_total{model_version="7",prediction="' in metrics
    assert 'ml_prediction_latency_seconds_count{model_version="7"}' in metrics


@pytest.mark.parametrize(
    ("features", "field"),
    [
        pytest.param({k: v for k, v in GOOD.items() if k != "copy"}, "features.copy", id="missing"),
        pytest.param(GOOD | {"shoe_size": 43}, "features.shoe_size", id="unknown"),
        pytest.param(GOOD | {"recency_days": SECRET}, "features.recency_days", id="text"),
        pytest.param(GOOD | {"recency_days": "12"}, "features.recency_days", id="number in quotes"),
        pytest.param(GOOD | {"recency_days": True}, "features.recency_days", id="bool"),
        pytest.param(GOOD | {"recency_days": [1]}, "features.recency_days", id="list"),
        pytest.param(GOOD | {"recency_days": None}, "features.recency_days", id="null where none may be"),
        pytest.param(GOOD | {"recency_days": float("nan")}, "features.recency_days", id="NaN"),
        pytest.param(GOOD | {"spend_30d": float("inf")}, "features.spend_30d", id="Infinity"),
        pytest.param(GOOD | {"spend_30d": 1e39}, "features.spend_30d", id="beyond float32"),
        pytest.param(GOOD | {"spend_30d": 10**400}, "features.spend_30d", id="400 digits"),
        pytest.param(GOOD | {"copy": -1e39}, "features.copy", id="beyond float32, nullable"),
        pytest.param(GOOD | {"recency_days": -1}, "features.recency_days", id="below the minimum"),
        pytest.param(GOOD | {"segment": SECRET}, "features.segment", id="unknown category"),
        pytest.param(GOOD | {"segment": 1}, "features.segment", id="category as a code"),
        pytest.param(GOOD | {"segment": None}, "features.segment", id="null category"),
        pytest.param([1, 2], "features", id="features as a list"),
        pytest.param(SECRET, "features", id="features as text"),
    ],
)
def test_bad_feature_is_named(endpoint: Endpoint, features: Any, field: str) -> None:
    response = endpoint.predict(features)
    assert response.status_code == 422
    error = response.json()["error"]
    assert error["kind"] == "invalid_input"
    assert {problem["field"] for problem in error["fields"]} == {field}
    assert SECRET not in response.text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"features": GOOD}, "customer_id", id="missing"),
        pytest.param({"customer_id": 4711, "features": GOOD}, "customer_id", id="number"),
        pytest.param({"customer_id": "", "features": GOOD}, "customer_id", id="empty"),
        pytest.param({"customer_id": None, "features": GOOD}, "customer_id", id="null"),
        pytest.param({"customer_id": SECRET * 10, "features": GOOD}, "customer_id", id="too long"),
        pytest.param({"customer_id": SECRET, "features": None}, "features", id="features null"),
        pytest.param({"customer_id": SECRET, "features": GOOD, "note": SECRET}, "note", id="unknown key"),
    ],
)
def test_bad_envelope_is_named(endpoint: Endpoint, body: dict[str, Any], field: str) -> None:
    response = endpoint.post(json.dumps(body))
    assert response.status_code == 422
    assert [problem["field"] for problem in response.json()["error"]["fields"]] == [field]
    assert SECRET not in response.text


def test_all_missing_features_are_named_at_once(endpoint: Endpoint) -> None:
    fields = endpoint.predict({}).json()["error"]["fields"]
    assert [problem["field"] for problem in fields] == [f"features.{name}" for name in GOOD]


@pytest.mark.parametrize(
    ("content", "content_type", "status", "kind"),
    [
        pytest.param(b"", "application/json", 400, "malformed_json", id="empty body"),
        pytest.param(b'{"customer_id": "' + SECRET.encode(), "application/json", 400, "malformed_json", id="cut off"),
        pytest.param(b"\xff\xfe{}", "application/json", 400, "malformed_json", id="not UTF-8"),
        pytest.param(b"[" * 5000, "application/json", 400, "malformed_json", id="deeply nested"),
        pytest.param(b"[1, 2]", "application/json", 422, "invalid_input", id="list body"),
        pytest.param(b"null", "application/json", 422, "invalid_input", id="null body"),
        pytest.param(b"{}", "text/plain", 415, "unsupported_media_type", id="text"),
        pytest.param(b"{}", "multipart/form-data; boundary=x", 415, "unsupported_media_type", id="bad multipart"),
        pytest.param(b"\x80\x04.", "application/vnd.bentoml+pickle", 415, "unsupported_media_type", id="pickle"),
        pytest.param(b"{" + b" " * 70_000 + b"}", "application/json", 413, "too_large", id="too large"),
        pytest.param(
            b'{"customer_id": "' + b"x" * 10_000_000 + b'"}', "application/json", 413, "too_large", id="10 MB id"
        ),
    ],
)
def test_bad_body_is_refused_in_the_same_form(
    endpoint: Endpoint, content: bytes, content_type: str, status: int, kind: str
) -> None:
    response = endpoint.post(content, content_type)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"kind", "message", "fields"}
    assert error["kind"] == kind
    assert SECRET not in response.text


def test_missing_content_type_is_refused(endpoint: Endpoint) -> None:
    assert endpoint.http.post("/predict", content=b"{}").status_code == 415


def test_body_without_a_length_is_limited_too(endpoint: Endpoint) -> None:
    chunks = (b"x" * 10_000 for _ in range(50))
    response = endpoint.http.post("/predict", content=chunks, headers={"Content-Type": "application/json"})
    assert response.status_code == 413


def test_charset_is_accepted(endpoint: Endpoint) -> None:
    body = json.dumps({"customer_id": "x", "features": GOOD})
    assert endpoint.post(body, "application/json; charset=utf-8").status_code == 200


def test_model_says_what_it_expects(endpoint: Endpoint, bundle: Bundle, bento: BentoReference) -> None:
    body = endpoint.http.get("/model").json()
    contract = bundle.contract.model_dump(mode="json", exclude={"format", "held_out"})
    assert body == contract | {"model_version": "7", "bento": bento.bento}


def test_reasons_are_given_when_asked_for(endpoint: Endpoint, bundle: Bundle) -> None:
    answer = endpoint.post(json.dumps({"customer_id": "x", "features": GOOD, "reasons": True})).json()
    matrix = bundle.contract.encode_rows([list(GOOD.values())])
    (expected,) = explain(bundle, matrix, top=3)
    for direction in ("raises", "lowers"):
        told = answer["reasons"][direction]
        assert [reason["feature"] for reason in told] == [one.feature for one in getattr(expected, direction)]
        for reason, one in zip(told, getattr(expected, direction), strict=True):
            assert reason == {
                "feature": one.feature,
                "value": one.value,
                "contribution": pytest.approx(one.contribution, abs=1e-5),
                "text": one.text,
            }
    assert "reasons" not in endpoint.predict(GOOD).json()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param('{"customer_id": "a", "customer_id": "b", "features": %s}', "customer_id", id="customer"),
        pytest.param('{"customer_id": "a", "features": {"copy": 1}, "features": %s}', "features", id="features"),
        pytest.param('{"customer_id": "a", "features": {"copy": 1, %s', "features.copy", id="feature"),
        pytest.param('{"customer_id": "a", "features": {"c\\u006fpy": 1, %s', "features.copy", id="escaped"),
        pytest.param('{"customer_id": "\\"", "features": {"copy": 1, %s', "features.copy", id="quote in a value"),
    ],
)
def test_key_that_comes_twice_is_named(endpoint: Endpoint, body: str, field: str) -> None:
    features = json.dumps(GOOD)
    response = endpoint.post(body % (features[1:] + "}" if body.endswith("%s") else features))
    assert response.status_code == 422
    assert response.json()["error"]["fields"] == [{"field": field, "reason": "The key comes twice."}]


@given(
    customer=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128),
    copies=st.none() | st.floats(-1e30, 1e30),
    escaped=st.booleans(),
)
def test_body_without_a_repeated_key_is_read(
    bundle: Bundle, customer: str, copies: float | None, escaped: bool
) -> None:
    body = json.dumps({"customer_id": customer, "features": GOOD | {"copy": copies}}, ensure_ascii=escaped).encode()
    assert RequestReader(bundle.contract, refuse_out_of_range=True).read(body).customer_id == customer


def test_out_of_range_is_counted_by_feature(endpoint: Endpoint) -> None:
    def counted() -> float:
        lines = endpoint.http.get("/metrics").text.splitlines()
        name = 'ml_feature_out_of_range_total{feature="recency_days"}'
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    before = counted()
    assert endpoint.predict(GOOD | {"recency_days": -1}).status_code == 422
    assert endpoint.predict(GOOD | {"recency_days": "x"}).status_code == 422
    assert counted() - before == 1
    assert 'ml_prediction_errors_total{kind="invalid_input"}' in endpoint.http.get("/metrics").text


def test_out_of_range_can_be_accepted(bundle: Bundle) -> None:
    reader = RequestReader(bundle.contract, refuse_out_of_range=False)
    body = json.dumps({"customer_id": "x", "features": GOOD | {"recency_days": -1}}).encode()
    assert reader.read(body).row() == [-1.0, *list(GOOD.values())[1:]]


@pytest.mark.parametrize("path", ["/", "/docs.json", "/schema.json", "/nowhere", "/predict/", "/healthz"])
def test_unknown_path_is_refused_in_the_same_form(endpoint: Endpoint, path: str) -> None:
    response = endpoint.http.get(path)
    assert (response.status_code, response.json()["error"]["kind"]) == (404, "unknown_path")


@pytest.mark.parametrize(("method", "path"), [("GET", "/predict"), ("POST", "/health"), ("DELETE", "/model")])
def test_wrong_method_is_refused_in_the_same_form(endpoint: Endpoint, method: str, path: str) -> None:
    response = endpoint.http.request(method, path)
    assert (response.status_code, response.json()["error"]["kind"]) == (405, "method_not_allowed")
    assert response.headers["Allow"] in {"GET", "POST"}


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_probes_of_bentoml_are_kept(endpoint: Endpoint, path: str) -> None:
    assert endpoint.http.get(path).status_code == 200


def test_openapi_describes_the_routes_with_examples_that_work(endpoint: Endpoint) -> None:
    document = endpoint.http.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {"/predict", "/predict_batch", "/health", "/model", "/metrics", "/openapi.json"}
    for path in ("/predict", "/predict_batch"):
        operation = document["paths"][path]["post"]
        examples = operation["requestBody"]["content"]["application/json"]["examples"]
        answers = operation["responses"]["200"]["content"]["application/json"]["examples"]
        examples.pop("by-id", None)  # asked where there is a store
        for name, example in examples.items():
            answer = endpoint.http.post(path, json=example["value"]).json()
            assert answer.keys() == answers[name]["value"].keys()
            for key, value in answers[name]["value"].items():
                assert answer[key] == (pytest.approx(value, abs=1e-6) if "probabilit" in key else value)


def test_openapi_schemas_are_valid_and_fit_the_answers(endpoint: Endpoint) -> None:
    document = endpoint.http.get("/openapi.json").json()
    answers = {
        "Prediction": endpoint.post(json.dumps({"customer_id": "x", "features": GOOD, "reasons": True})),
        "Health": endpoint.http.get("/health"),
        "ModelDescription": endpoint.http.get("/model"),
        "Error": endpoint.http.get("/nowhere"),
    }
    for name, answer in answers.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate(answer.json())


def test_logs_hold_nothing_of_what_was_sent(endpoint: Endpoint) -> None:
    assert endpoint.predict(GOOD | {"recency_days": SECRET, "segment": SECRET}).status_code == 422
    assert endpoint.predict(GOOD).status_code == 200
    log = endpoint.log.read_text()
    assert "model loaded" in log
    assert SECRET not in log
    assert "Traceback" not in log
    assert "/predict" not in log
