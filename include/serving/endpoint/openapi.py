"""The OpenAPI document of the endpoint, made from the models that read and answer its requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from include.serving.endpoint.answers import BatchPrediction, Error, Health, ModelDescription, Prediction
from include.serving.endpoint.batch_arrow import ARROW
from include.serving.endpoint.batch_json import BatchRequest
from include.serving.endpoint.requests import PredictRequest
from include.training.model.bundle import Sample
from include.training.model.contract import ModelContract

_REFERENCE = "#/components/schemas/{model}"
_STREAM = {"type": "string", "format": "binary"}
_REFUSALS = {
    400: "The body is not JSON.",
    401: "The API key is missing or unknown, where keys are configured.",
    404: "Nobody is known under this id, or there is nothing at this path.",
    405: "The path answers another method.",
    408: "The body took too long to arrive.",
    413: "The body is too large.",
    415: "The body is of another type.",
    422: "The body breaks the model's contract; the fields are named.",
    429: "Too many failed attempts to authenticate.",
    431: "The headers are too large.",
    500: "The request could not be answered.",
    503: "There are more requests than can be answered, or the online store does not answer.",
}
_ALWAYS_ANSWERED = (401, 405, 429, 431, 500)
_OF_ANY = (*_ALWAYS_ANSWERED, 503)
_OF_A_BODY = (400, 401, 404, 405, 408, 413, 415, 422, 429, 431, 500, 503)
# Either header will do, and neither is needed where no keys are configured.
_SECURITY: list[dict[str, list[str]]] = [{"key": []}, {"bearer": []}, {}]
_SECURITY_SCHEMES = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer"},
}


def openapi(
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
        samples: Customers recorded by training: the examples.
        request: The model that reads ``POST /predict``.
        batch: The model that reads ``POST /predict_batch``.
    """
    _, schemas = models_json_schema(
        [
            (request, "validation"),
            (batch, "validation"),
            *((answer, "serialization") for answer in (Prediction, BatchPrediction, Health, ModelDescription, Error)),
        ],
        ref_template=_REFERENCE,
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Churn of {contract.project}",
            "version": model_version,
            "description": "The probability that a customer churns, and what the model's cost threshold makes of it.",
        },
        "paths": {
            "/predict": {"post": _predict(contract, model_version, samples, request)},
            "/predict_batch": {"post": _predict_batch(contract, model_version, samples, batch)},
            "/health": {"get": _get("health", "Whether a model is loaded, and which", Health, _ALWAYS_ANSWERED)},
            "/model": {
                "get": _get("model", "Where the model comes from, and what it expects", ModelDescription, _OF_ANY)
            },
            "/metrics": {"get": _metrics()},
            "/openapi.json": {"get": _document()},
        },
        "security": _SECURITY,
        "components": {"schemas": schemas["$defs"], "securitySchemes": _SECURITY_SCHEMES},
    }


def _predict(
    contract: ModelContract, model_version: str, samples: Sequence[Sample], request: type[PredictRequest]
) -> dict[str, Any]:
    # Whom the online store knows is asked for by the id alone; training's samples have no such id.
    asked: dict[str, Any] = {"by-id": {"value": {"customer_id": "customer-0", "reasons": True}}}
    answered = {}
    for position, sample in enumerate(samples):
        name, customer = f"sample-{position}", f"customer-{position}"
        asked[name] = {"value": {"customer_id": customer, "features": sample.features}}
        answered[name] = {
            "value": {
                "customer_id": customer,
                "churn_probability": sample.churn_probability,
                "prediction": contract.decide(sample.churn_probability),
                "model_version": model_version,
            }
        }
    return {
        "operationId": "predict",
        "summary": "The churn probability of one customer",
        "requestBody": {"required": True, "content": {"application/json": _content(request, asked)}},
        "responses": {"200": _answer("The prediction.", Prediction, answered), **_refusals(_OF_A_BODY)},
    }


def _predict_batch(
    contract: ModelContract, model_version: str, samples: Sequence[Sample], request: type[BatchRequest]
) -> dict[str, Any]:
    customers = [f"customer-{position}" for position in range(len(samples))]
    columns = {name: [sample.features[name] for sample in samples] for name in contract.feature_names}
    asked = {"samples": {"value": {"customer_ids": customers, "features": columns}}}
    probabilities = [sample.churn_probability for sample in samples]
    answered = {
        "samples": {
            "value": {
                "customer_ids": customers,
                "churn_probabilities": probabilities,
                "predictions": [contract.decide(probability) for probability in probabilities],
                "model_version": model_version,
            }
        }
    }
    answer = _answer("The predictions, in the form of the request unless Accept names one.", BatchPrediction, answered)
    answer["content"][ARROW] = {"schema": _STREAM}
    body = {"application/json": _content(request, asked if samples else {}), ARROW: {"schema": _STREAM}}
    return {
        "operationId": "predict_batch",
        "summary": "The churn probabilities of many customers",
        "description": "In Arrow: an IPC stream of customer_id and one column for each feature, not compressed; its "
        "answer has customer_id, churn_probability, prediction and model_version.",
        "requestBody": {"required": True, "content": body},
        "responses": {"200": answer, **_refusals(_OF_A_BODY)},
    }


def _get(name: str, summary: str, answer: type[BaseModel], refusals: Sequence[int]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": _answer(f"{summary}.", answer), **_refusals(refusals)},
    }


def _metrics() -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}}
    answer = {"description": "Metrics in the text format of Prometheus.", "content": content}
    responses = {"200": answer, **_refusals(_ALWAYS_ANSWERED)}
    return {"operationId": "metrics", "summary": "Metrics", "responses": responses}


def _document() -> dict[str, Any]:
    answer = {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": {"type": "object"}}}}
    return {"operationId": "openapi", "summary": "This document", "responses": {"200": answer, **_refusals(_OF_ANY)}}


def _answer(description: str, model: type[BaseModel], examples: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": _content(model, examples or {})}}


def _content(model: type[BaseModel], examples: dict[str, Any]) -> dict[str, Any]:
    schema = {"$ref": _REFERENCE.format(model=model.__name__)}
    return {"schema": schema, "examples": examples} if examples else {"schema": schema}


def _refusals(statuses: Sequence[int]) -> dict[str, Any]:
    return {str(status): _answer(_REFUSALS[status], Error) for status in statuses}
