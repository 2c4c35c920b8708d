"""Single requests at a real server, over HTTP."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from include.serving.deployment.state import BentoReference
from include.serving.endpoint.requests import PredictRequestReader
from include.training.model.bundle import Bundle
from include.training.model.explain import explain
from tests.serving.conftest import synthetic_columns
from tests.serving.endpoint.servers import GOOD, PRIVATE, Served

pytestmark = pytest.mark.slow


def test_health_contains_the_model_version_and_the_bento(endpoint: Served, bento: BentoReference) -> None:
    body = endpoint.http.get("/health").json()
    assert body == {"status": "healthy", "model_loaded": True, "model_version": "7", "bento": bento.bento}


def test_predictions_equal_those_of_the_model(endpoint: Served, bundle: Bundle) -> None:
    columns = synthetic_columns(25, seed=99)
    expected = bundle.predict(columns)
    for row in range(25):
        prediction = endpoint.predict_features({name: columns[name][row] for name in columns}, f"customer-{row}").json()
        assert prediction["churn_probability"] == pytest.approx(float(expected[row]), abs=1e-6)
        assert prediction == {
            "customer_id": f"customer-{row}",
            "churn_probability": prediction["churn_probability"],
            "prediction": "churn" if expected[row] >= bundle.contract.threshold else "retain",
            "model_version": "7",
        }


def test_order_of_features_does_not_matter(endpoint: Served) -> None:
    reverse = dict(reversed(GOOD.items()))
    assert endpoint.predict_features(GOOD).json() == endpoint.predict_features(reverse).json()


def test_concurrent_requests_get_their_own_predictions(endpoint: Served, bundle: Bundle) -> None:
    columns = synthetic_columns(40, seed=3)
    expected = bundle.predict(columns)

    async def send_all() -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=endpoint.url, timeout=20, trust_env=False) as http:
            rows = [{name: columns[name][row] for name in columns} for row in range(40)]
            bodies = [{"customer_id": str(row), "features": features} for row, features in enumerate(rows)]
            return [
                response.json() for response in await asyncio.gather(*(http.post("/predict", json=b) for b in bodies))
            ]

    for row, prediction in enumerate(asyncio.run(send_all())):
        assert prediction["customer_id"] == str(row)
        assert prediction["churn_probability"] == pytest.approx(float(expected[row]), abs=1e-6)


def test_predictions_are_counted_by_decision_and_version(endpoint: Served) -> None:
    endpoint.predict_features(GOOD)
    metrics = endpoint.http.get("/metrics").text
    assert 'ml_predictions_total{model_version="7",prediction="' in metrics
    assert 'ml_prediction_latency_seconds_count{model_version="7"}' in metrics


@pytest.mark.parametrize(
    ("features", "field"),
    [
        pytest.param({k: v for k, v in GOOD.items() if k != "copy"}, "features.copy", id="missing"),
        pytest.param(GOOD | {"shoe_size": 43}, "features.shoe_size", id="unknown"),
        pytest.param(GOOD | {"recency_days": PRIVATE}, "features.recency_days", id="text"),
        pytest.param(GOOD | {"recency_days": "12"}, "features.recency_days", id="number in quotes"),
        pytest.param(GOOD | {"recency_days": True}, "features.recency_days", id="bool"),
        pytest.param(GOOD | {"recency_days": [1]}, "features.recency_days", id="list"),
        pytest.param(GOOD | {"recency_days": None}, "features.recency_days", id="null, not nullable"),
        pytest.param(GOOD | {"recency_days": float("nan")}, "features.recency_days", id="NaN"),
        pytest.param(GOOD | {"spend_30d": float("inf")}, "features.spend_30d", id="Infinity"),
        pytest.param(GOOD | {"spend_30d": 1e39}, "features.spend_30d", id="beyond float32"),
        pytest.param(GOOD | {"spend_30d": 10**400}, "features.spend_30d", id="400 digits"),
        pytest.param(GOOD | {"copy": -1e39}, "features.copy", id="beyond float32, nullable"),
        pytest.param(GOOD | {"recency_days": -1}, "features.recency_days", id="below the minimum"),
        pytest.param(GOOD | {"segment": PRIVATE}, "features.segment", id="unknown category"),
        pytest.param(GOOD | {"segment": 1}, "features.segment", id="category as a code"),
        pytest.param(GOOD | {"segment": None}, "features.segment", id="null category"),
        pytest.param([1, 2], "features", id="features as a list"),
        pytest.param(PRIVATE, "features", id="features as text"),
    ],
)
def test_error_names_an_invalid_feature(endpoint: Served, features: Any, field: str) -> None:
    response = endpoint.predict_features(features)
    assert response.status_code == 422
    error = response.json()["error"]
    assert error["kind"] == "invalid_input"
    assert {problem["field"] for problem in error["fields"]} == {field}
    assert PRIVATE not in response.text


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"features": GOOD}, "customer_id", id="missing"),
        pytest.param({"customer_id": 4711, "features": GOOD}, "customer_id", id="number"),
        pytest.param({"customer_id": "", "features": GOOD}, "customer_id", id="empty"),
        pytest.param({"customer_id": None, "features": GOOD}, "customer_id", id="null"),
        pytest.param({"customer_id": PRIVATE * 10, "features": GOOD}, "customer_id", id="too long"),
        pytest.param({"customer_id": PRIVATE, "features": None}, "features", id="features null"),
        pytest.param({"customer_id": PRIVATE, "features": GOOD, "note": PRIVATE}, "note", id="unknown key"),
    ],
)
def test_error_names_an_invalid_field(endpoint: Served, body: dict[str, Any], field: str) -> None:
    response = endpoint.post(json.dumps(body))
    assert response.status_code == 422
    assert [problem["field"] for problem in response.json()["error"]["fields"]] == [field]
    assert PRIVATE not in response.text


def test_error_names_all_missing_features(endpoint: Served) -> None:
    fields = endpoint.predict_features({}).json()["error"]["fields"]
    assert [problem["field"] for problem in fields] == [f"features.{name}" for name in GOOD]


@pytest.mark.parametrize(
    ("content", "content_type", "status", "kind"),
    [
        pytest.param(b"", "application/json", 400, "malformed_json", id="empty body"),
        pytest.param(
            b'{"customer_id": "' + PRIVATE.encode(), "application/json", 400, "malformed_json", id="truncated"
        ),
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
def test_malformed_body_gets_an_error_response(
    endpoint: Served, content: bytes, content_type: str, status: int, kind: str
) -> None:
    response = endpoint.post(content, content_type)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"kind", "message", "fields"}
    assert error["kind"] == kind
    assert PRIVATE not in response.text


def test_missing_content_type_is_rejected(endpoint: Served) -> None:
    assert endpoint.http.post("/predict", content=b"{}").status_code == 415


def test_body_in_chunks_is_limited(endpoint: Served) -> None:
    chunks = (b"x" * 10_000 for _ in range(50))
    response = endpoint.http.post("/predict", content=chunks, headers={"Content-Type": "application/json"})
    assert response.status_code == 413


def test_content_type_with_a_charset_is_accepted(endpoint: Served) -> None:
    body = json.dumps({"customer_id": "x", "features": GOOD})
    assert endpoint.post(body, "application/json; charset=utf-8").status_code == 200


def test_model_route_returns_the_contract(endpoint: Served, bundle: Bundle, bento: BentoReference) -> None:
    body = endpoint.http.get("/model").json()
    contract = bundle.contract.model_dump(mode="json", exclude={"format"})
    assert body == contract | {"model_version": "7", "bento": bento.bento}


def test_reasons_are_returned_on_request(endpoint: Served, bundle: Bundle) -> None:
    prediction = endpoint.post(json.dumps({"customer_id": "x", "features": GOOD, "reasons": True})).json()
    matrix = bundle.contract.encode_rows([list(GOOD.values())])
    (expected,) = explain(bundle, matrix, top=3)
    for direction in ("raises", "lowers"):
        reasons = prediction["reasons"][direction]
        assert [reason["feature"] for reason in reasons] == [one.feature for one in getattr(expected, direction)]
        for reason, one in zip(reasons, getattr(expected, direction), strict=True):
            assert reason == {
                "feature": one.feature,
                "value": one.value,
                "contribution": pytest.approx(one.contribution, abs=1e-5),
                "text": one.text,
            }
    assert "reasons" not in endpoint.predict_features(GOOD).json()


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
def test_error_names_a_repeated_key(endpoint: Served, body: str, field: str) -> None:
    features = json.dumps(GOOD)
    response = endpoint.post(body % (features[1:] + "}" if body.endswith("%s") else features))
    assert response.status_code == 422
    assert response.json()["error"]["fields"] == [{"field": field, "reason": "The key is repeated."}]


@given(
    customer=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128),
    copies=st.none() | st.floats(-1e30, 1e30),
    escaped=st.booleans(),
)
def test_body_without_a_repeated_key_is_accepted(
    bundle: Bundle, customer: str, copies: float | None, escaped: bool
) -> None:
    body = json.dumps({"customer_id": customer, "features": GOOD | {"copy": copies}}, ensure_ascii=escaped).encode()
    assert PredictRequestReader(bundle.contract, refuse_out_of_range=True).read(body).customer_id == customer


def test_values_out_of_range_are_counted_by_feature(endpoint: Served) -> None:
    metric = 'ml_feature_out_of_range_total{feature="recency_days"}'
    before = endpoint.metric(metric)
    assert endpoint.predict_features(GOOD | {"recency_days": -1}).status_code == 422
    assert endpoint.predict_features(GOOD | {"recency_days": "x"}).status_code == 422
    assert endpoint.metric(metric) - before == 1
    assert 'ml_prediction_errors_total{kind="invalid_input"}' in endpoint.http.get("/metrics").text


def test_values_out_of_range_can_be_accepted(bundle: Bundle) -> None:
    reader = PredictRequestReader(bundle.contract, refuse_out_of_range=False)
    body = json.dumps({"customer_id": "x", "features": GOOD | {"recency_days": -1}}).encode()
    assert reader.read(body).row() == [-1.0, *list(GOOD.values())[1:]]


@pytest.mark.parametrize("path", ["/", "/docs.json", "/schema.json", "/nowhere", "/predict/", "/healthz"])
def test_unknown_path_gets_an_error_response(endpoint: Served, path: str) -> None:
    response = endpoint.http.get(path)
    assert (response.status_code, response.json()["error"]["kind"]) == (404, "unknown_path")


@pytest.mark.parametrize(("method", "path"), [("GET", "/predict"), ("POST", "/health"), ("DELETE", "/model")])
def test_wrong_method_gets_an_error_response(endpoint: Served, method: str, path: str) -> None:
    response = endpoint.http.request(method, path)
    assert (response.status_code, response.json()["error"]["kind"]) == (405, "method_not_allowed")
    assert response.headers["Allow"] in {"GET", "POST"}


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_bentoml_probes_are_reachable(endpoint: Served, path: str) -> None:
    assert endpoint.http.get(path).status_code == 200


def test_openapi_document_has_the_routes_and_valid_examples(endpoint: Served) -> None:
    document = endpoint.http.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {"/predict", "/predict_batch", "/health", "/model", "/metrics", "/openapi.json"}
    for path in ("/predict", "/predict_batch"):
        operation = document["paths"][path]["post"]
        examples = operation["requestBody"]["content"]["application/json"]["examples"]
        predictions = operation["responses"]["200"]["content"]["application/json"]["examples"]
        examples.pop("by-id", None)  # needs an online store; see test_by_id.py
        for name, example in examples.items():
            prediction = endpoint.http.post(path, json=example["value"]).json()
            assert prediction.keys() == predictions[name]["value"].keys()
            for key, value in predictions[name]["value"].items():
                assert prediction[key] == (pytest.approx(value, abs=1e-6) if "probabilit" in key else value)


def test_openapi_schemas_are_valid_and_match_the_responses(endpoint: Served) -> None:
    document = endpoint.http.get("/openapi.json").json()
    responses = {
        "Prediction": endpoint.post(json.dumps({"customer_id": "x", "features": GOOD, "reasons": True})),
        "Health": endpoint.http.get("/health"),
        "ModelDescription": endpoint.http.get("/model"),
        "Error": endpoint.http.get("/nowhere"),
    }
    for name, response in responses.items():
        schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        Draft202012Validator.check_schema(schema)
        Draft202012Validator(schema).validate(response.json())


def test_log_contains_no_value_of_a_request(endpoint: Served) -> None:
    assert endpoint.predict_features(GOOD | {"recency_days": PRIVATE, "segment": PRIVATE}).status_code == 422
    assert endpoint.predict_features(GOOD).status_code == 200
    log = endpoint.log.read_text()
    assert "model loaded" in log
    assert PRIVATE not in log
    assert "Traceback" not in log
    assert "/predict" not in log
