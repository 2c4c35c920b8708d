"""The OpenAPI document of the endpoint, generated from the models of its requests and responses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from include.serving.endpoint.batch_arrow import ARROW
from include.serving.endpoint.errors import Error
from include.serving.endpoint.requests import BatchRequest, PredictRequest
from include.serving.endpoint.responses import BatchPrediction, Health, ModelDescription, Prediction
from include.training.model.bundle import Sample
from include.training.model.contract import ModelContract

_JSON = "application/json"
_REFERENCE = "#/components/schemas/{model}"
_ARROW_CONTENT: dict[str, Any] = {ARROW: {"schema": {"type": "string", "format": "binary"}}}
_ERRORS = {
    400: "The body is not JSON, or the request is not valid HTTP.",
    401: "The API key is missing or unknown, where keys are configured.",
    404: "The online store has no features of this customer, or there is nothing at this path.",
    405: "The path has no such method.",
    408: "The body took too long to arrive.",
    413: "The body is too large.",
    414: "The path and the query are too long.",
    415: "The body has another content type.",
    417: "The request expects something other than 100-continue.",
    422: "The body breaks the model's contract; the response names the fields.",
    429: "Too many failed attempts to authenticate.",
    431: "The headers are too large.",
    500: "The request could not be processed.",
    503: "The endpoint is overloaded, or the online store is unavailable.",
}
_ALWAYS_ADMITTED = (400, 401, 405, 414, 417, 429, 431, 500)
_WITHOUT_BODY = (*_ALWAYS_ADMITTED, 503)


def openapi_document(
    contract: ModelContract,
    model_version: str,
    samples: Sequence[Sample],
    request: type[PredictRequest],
    batch: type[BatchRequest],
) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of one model's endpoint.

    Args:
        contract: The model's contract.
        model_version: The registry's version of the model.
        samples: The samples, which become the examples.
        request: The model of the body of ``POST /predict``.
        batch: The model of the body of ``POST /predict_batch`` in JSON.
    """
    responses = (Prediction, BatchPrediction, Health, ModelDescription, Error)
    _, schemas = models_json_schema(
        [(request, "validation"), (batch, "validation"), *((model, "serialization") for model in responses)],
        ref_template=_REFERENCE,
    )
    requests, predictions = _examples(contract, model_version, samples)
    batches, batch_predictions = _batch_examples(contract, model_version, samples)
    paths = {
        "/predict": {
            "post": {
                "operationId": "predict",
                "summary": "The churn probability of one customer",
                "requestBody": {"required": True, "content": _content(request, requests)},
                "responses": _responses("The prediction.", _content(Prediction, predictions), _ERRORS),
            }
        },
        "/predict_batch": {
            "post": {
                "operationId": "predict_batch",
                "summary": "The churn probabilities of many customers",
                "description": "In Arrow: an IPC stream of customer_id and one column for each feature, not "
                "compressed; the response has customer_id, churn_probability, prediction and model_version.",
                "requestBody": {"required": True, "content": _content(batch, batches) | _ARROW_CONTENT},
                "responses": _responses(
                    "The predictions, in the format of the request unless Accept names a format.",
                    _content(BatchPrediction, batch_predictions) | _ARROW_CONTENT,
                    _ERRORS,
                ),
            }
        },
        "/health": _get("health", "The model that is loaded", _content(Health), _ALWAYS_ADMITTED),
        "/model": _get("model", "The model's training and inputs", _content(ModelDescription), _WITHOUT_BODY),
        "/metrics": _get("metrics", "Metrics", {"text/plain": {"schema": {"type": "string"}}}, _ALWAYS_ADMITTED),
        "/openapi.json": _get("openapi", "This document", {_JSON: {"schema": {"type": "object"}}}, _WITHOUT_BODY),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Churn of {contract.project}",
            "version": model_version,
            "description": "The probability that a customer churns, and the decision at the model's threshold.",
        },
        "paths": paths,
        # Either header is enough, and none is needed where no keys are configured.
        "security": [{"key": []}, {"bearer": []}, {}],
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _examples(
    contract: ModelContract, model_version: str, samples: Sequence[Sample]
) -> tuple[dict[str, Any], dict[str, Any]]:
    # A request by id needs a customer in the online store. Samples contain no customer ids.
    requests: dict[str, Any] = {"by-id": {"value": {"customer_id": "customer-0", "reasons": True}}}
    predictions = {}
    for position, sample in enumerate(samples):
        name, customer = f"sample-{position}", f"customer-{position}"
        requests[name] = {"value": {"customer_id": customer, "features": sample.features}}
        prediction = {
            "customer_id": customer,
            "churn_probability": sample.churn_probability,
            "prediction": contract.decide(sample.churn_probability),
            "model_version": model_version,
        }
        predictions[name] = {"value": prediction}
    return requests, predictions


def _batch_examples(
    contract: ModelContract, model_version: str, samples: Sequence[Sample]
) -> tuple[dict[str, Any], dict[str, Any]]:
    customers = [f"customer-{position}" for position in range(len(samples))]
    columns = {name: [sample.features[name] for sample in samples] for name in contract.feature_names}
    predictions = {
        "customer_ids": customers,
        "churn_probabilities": [sample.churn_probability for sample in samples],
        "predictions": [contract.decide(sample.churn_probability) for sample in samples],
        "model_version": model_version,
    }
    requests = {"samples": {"value": {"customer_ids": customers, "features": columns}}} if samples else {}
    return requests, {"samples": {"value": predictions}} if samples else {}


def _get(name: str, summary: str, content: dict[str, Any], errors: Iterable[int]) -> dict[str, Any]:
    responses = _responses(f"{summary}.", content, errors)
    return {"get": {"operationId": name, "summary": summary, "responses": responses}}


def _responses(description: str, content: dict[str, Any], errors: Iterable[int]) -> dict[str, Any]:
    failed = {str(status): {"description": _ERRORS[status], "content": _content(Error)} for status in errors}
    return {"200": {"description": description, "content": content}, **failed}


def _content(model: type[BaseModel], examples: dict[str, Any] | None = None) -> dict[str, Any]:
    schema = {"schema": {"$ref": _REFERENCE.format(model=model.__name__)}}
    return {_JSON: {**schema, "examples": examples} if examples else schema}
