"""Requests: models generated from the contract of the served model, and the validation of JSON bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, FailFast, Field, ValidationError, create_model

from include.serving.endpoint.errors import RequestError, invalid_input
from include.serving.endpoint.metrics import OUT_OF_RANGE
from include.training.model.contract import FeatureContract, ModelContract

LARGEST_FLOAT32 = 3.4028234663852886e38
"""The largest finite 32-bit float: the booster reads larger numbers as infinity."""

_MAX_NAME_LENGTH = 100
_MALFORMED = frozenset({"json_invalid", "json_type"})
_BOUNDS = ("greater_than_equal", "less_than_equal")

Body = TypeVar("Body", bound=BaseModel)
Row = Sequence[float | str | None]
CustomerId = Annotated[str, Field(min_length=1, max_length=128)]


class StrictModel(BaseModel):
    """A part of a request. Values are not converted, and unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class PredictRequest(StrictModel):
    """The body of ``POST /predict``; ``predict_request_model`` adds ``features`` with the features of one model."""

    customer_id: CustomerId = Field(description="Returned in the response.")
    reasons: bool = Field(default=False, description="Whether the response explains the prediction.")

    def row(self) -> Row | None:
        """Return the features in the contract's order; None when the request has no features."""
        features: BaseModel | None = self.features  # type: ignore[attr-defined]  # see predict_request_model
        return None if features is None else list(features.__dict__.values())


class BatchRequest(StrictModel):
    """The body of ``POST /predict_batch`` in JSON; ``batch_request_model`` adds ``features`` for one model."""

    customer_ids: list[CustomerId] = Field(description="One for each row; returned in the response.")

    def columns(self) -> list[list[float | str | None]]:
        """Return the features' values in the contract's order, a list for each feature."""
        features: BaseModel = self.features  # type: ignore[attr-defined]  # see batch_request_model
        return list(features.__dict__.values())


def predict_request_model(contract: ModelContract, refuse_out_of_range: bool = True) -> type[PredictRequest]:
    """Return the model of single requests: all features of ``contract`` or none.

    Args:
        contract: The model's contract.
        refuse_out_of_range: Whether a number outside the contract's range is an error.
    """
    types = [feature_type(feature, refuse_out_of_range) for feature in contract.features]
    description = "All features of the model. Without them, the features of the online store are used."
    return create_model(
        "PredictRequest",
        __base__=PredictRequest,
        features=(_features_model("Features", contract, types), Field(default=None, description=description)),
    )


def batch_request_model(contract: ModelContract, refuse_out_of_range: bool, max_rows: int) -> type[BatchRequest]:
    """Return the model of batches in JSON: a list for each feature of ``contract``.

    The validation of a list ends at its first error, so that a long list of errors costs little.

    Args:
        contract: The model's contract.
        refuse_out_of_range: Whether a number outside the contract's range is an error.
        max_rows: The largest number of rows.
    """
    types = [
        Annotated[list[feature_type(feature, refuse_out_of_range)], FailFast()]  # type: ignore[misc]
        for feature in contract.features
    ]
    customers = Annotated[list[CustomerId], FailFast(), Field(min_length=1, max_length=max_rows)]
    return create_model(
        "BatchRequest",
        __base__=BatchRequest,
        customer_ids=(customers, Field(description=BatchRequest.model_fields["customer_ids"].description)),
        features=(
            _features_model("FeatureColumns", contract, types),
            Field(description="One list for each feature of the model, as long as customer_ids."),
        ),
    )


def _features_model(name: str, contract: ModelContract, types: Sequence[Any]) -> type[StrictModel]:
    fields: dict[str, Any] = {
        # JSON contains the feature's own name; an attribute with a name such as "copy" would hide a method.
        f"feature_{position}": (accepted, Field(alias=feature.name, description=feature.description))
        for position, (feature, accepted) in enumerate(zip(contract.features, types, strict=True))
    }
    return create_model(name, __base__=StrictModel, **fields)


def feature_type(feature: FeatureContract, refuse_out_of_range: bool) -> Any:
    """Return the type of one value of ``feature``, for pydantic.

    Args:
        feature: The feature's contract.
        refuse_out_of_range: Whether a number outside the contract's range is an error.
    """
    accepted: Any
    if feature.categories:
        accepted = Literal[feature.categories]
    else:
        smallest, largest = accepted_range(feature, refuse_out_of_range)
        accepted = Annotated[float, Field(ge=smallest, le=largest)]
    return accepted | None if feature.nullable else accepted


def accepted_range(feature: FeatureContract, refuse_out_of_range: bool) -> tuple[float, float]:
    """Return the lowest and the highest accepted number of ``feature``.

    Args:
        feature: The feature's contract.
        refuse_out_of_range: Whether a number outside the contract's range is an error.
    """
    smallest = feature.minimum if refuse_out_of_range else None
    largest = feature.maximum if refuse_out_of_range else None
    return -LARGEST_FLOAT32 if smallest is None else smallest, LARGEST_FLOAT32 if largest is None else largest


class PredictRequestReader:
    """Reads bodies of ``POST /predict``.

    Args:
        contract: The model's contract.
        refuse_out_of_range: Whether a number outside the contract's range is an error.
    """

    def __init__(self, contract: ModelContract, refuse_out_of_range: bool) -> None:
        self.model = predict_request_model(contract, refuse_out_of_range)
        self._validator = JsonValidator(contract)

    def read(self, body: bytes) -> PredictRequest:
        """Return the request in ``body``.

        Raises:
            RequestError: 400 when the body is not JSON; 422 when it breaks the contract.
        """
        request = self._validator.validate(self.model, body)
        row = request.row() or ()
        texts = 1 + sum(isinstance(value, str) for value in row)
        require_unique_keys(body, texts + len(request.model_fields_set) + len(row))
        return request


class JsonValidator:
    """Validates JSON bodies, and counts the values that are out of range.

    Args:
        contract: The model's contract.
    """

    def __init__(self, contract: ModelContract) -> None:
        self._ranges = {feature.name: (feature.minimum, feature.maximum) for feature in contract.features}

    def validate(self, model: type[Body], body: bytes) -> Body:
        """Return ``body`` as an instance of ``model``.

        Args:
            model: The model of the body.
            body: JSON in UTF-8.

        Raises:
            RequestError: 400 when the body is not JSON; 422 when the model does not accept it.
        """
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            raise self._request_error(error) from None

    def _request_error(self, error: ValidationError) -> RequestError:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        for problem in problems:
            self.count_out_of_range(problem["loc"], problem["type"])
        if problems[0]["type"] in _MALFORMED:
            return RequestError(400, "malformed_json", "The body is not a JSON object in UTF-8.")
        return invalid_input([{"field": _field_name(problem["loc"]), "reason": problem["msg"]} for problem in problems])

    def count_out_of_range(self, location: tuple[int | str, ...], rule: str) -> None:
        """Count an invalid value when it breaks the contract's range.

        Args:
            location: The location of the value: ``("features", name)``, in a batch followed by the row.
            rule: Pydantic's name of the broken rule.
        """
        if rule not in _BOUNDS or len(location) < 2:
            return
        name = str(location[1])
        if self._ranges.get(name, (None, None))[_BOUNDS.index(rule)] is not None:
            OUT_OF_RANGE.labels(name).inc()


def require_unique_keys(body: bytes, strings: int) -> None:
    """Check that no JSON object has a key twice; parsers silently keep the last value.

    Args:
        body: A valid JSON body.
        strings: The number of strings in a body without repeated keys, keys included. Each string has two quotation
            marks, so that counting the marks is enough for ordinary bodies.

    Raises:
        RequestError: 422; it names the repeated keys.
    """
    if body.count(b'"') == 2 * strings and b"\\" not in body:
        return
    names = sorted(set(_repeated_keys(json.loads(body, object_pairs_hook=_Pairs))))
    if names:
        raise invalid_input([{"field": name[:_MAX_NAME_LENGTH], "reason": "The key is repeated."} for name in names])


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all of its keys, including repeated keys."""


def _repeated_keys(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen = set()
        for key, inner in value:
            if key in seen:
                yield path + key
            seen.add(key)
            yield from _repeated_keys(inner, f"{path}{key}.")


def _field_name(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)[:_MAX_NAME_LENGTH] or "body"
