"""What ``POST /predict`` accepts: a model generated from the contract, and the one form in which requests are refused.

A refusal names fields and rules. It never repeats a value, and nothing here writes to a log: inputs are personal data.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from starlette.responses import JSONResponse

from include.serving.endpoint.metrics import ERRORS, OUT_OF_RANGE
from include.training.model.contract import FeatureContract, ModelContract

# The largest finite 32-bit float: the booster reads anything beyond it as infinity.
LARGEST_FLOAT32 = 3.4028234663852886e38
MAX_FIELDS_NAMED = 200
_MAX_NAME_LENGTH = 100
_MALFORMED = frozenset({"json_invalid", "json_type"})
_BOUNDS = ("greater_than_equal", "less_than_equal")

Body = TypeVar("Body", bound=BaseModel)
Row = Sequence[float | str | None]
CustomerId = Annotated[str, Field(min_length=1, max_length=128)]


class Strict(BaseModel):
    """What is sent to the endpoint: nothing is converted, and nothing unknown is let through."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class PredictRequest(Strict):
    """The body of ``POST /predict``; ``request_model`` adds ``features``, those of one model."""

    customer_id: CustomerId = Field(description="Passed through to the answer.")
    reasons: bool = Field(default=False, description="Whether the answer says what raises and lowers the risk.")

    def row(self) -> Row | None:
        """Return the features in the contract's order; None when the request names only the customer."""
        features: BaseModel | None = self.features  # type: ignore[attr-defined]  # see request_model
        return None if features is None else list(features.__dict__.values())


class RefusalError(Exception):
    """A request is not answered with a prediction.

    Attributes:
        response: What it is answered with.
    """

    def __init__(self, status: int, kind: str, message: str, fields: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(kind)
        self.response = refusal(status, kind, message, fields)


def refusal(
    status: int,
    kind: str,
    message: str,
    fields: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return the answer to a request that is refused, and count it: one form for every reason.

    Args:
        status: The HTTP status.
        kind: A word for programs, one of a few; the label under which the refusal is counted.
        message: A sentence for people.
        fields: ``{"field": ..., "reason": ...}`` for everything that is wrong in the body.
        headers: Headers to add.
    """
    ERRORS.labels(kind).inc()
    return JSONResponse(refusal_content(kind, message, fields), status, dict(headers or {}))


def refusal_content(kind: str, message: str, fields: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """Return what a refusal says, in the one form; see ``refusal``."""
    return {"error": {"kind": kind, "message": message, "fields": list(fields)}}


def request_model(contract: ModelContract, refuse_out_of_range: bool = True) -> type[PredictRequest]:
    """Return the request model of ``contract``: all of its features or none, and nothing else is accepted."""
    fields: dict[str, Any] = {
        # Features keep their own names outside; inside, a name such as "copy" would hide a method.
        f"feature_{position}": (
            feature_type(feature, refuse_out_of_range),
            Field(alias=feature.name, description=feature.description),
        )
        for position, feature in enumerate(contract.features)
    }
    features = create_model("Features", __base__=Strict, **fields)
    description = "All features of the model. Without them, those of the online store are taken."
    return create_model(
        "PredictRequest", __base__=PredictRequest, features=(features, Field(default=None, description=description))
    )


def feature_type(feature: FeatureContract, refuse_out_of_range: bool) -> Any:
    """Return the type of one value of ``feature``, as pydantic reads it."""
    accepted: Any
    if feature.categories:
        accepted = Literal[feature.categories]
    else:
        least, most = limits(feature, refuse_out_of_range)
        accepted = Annotated[float, Field(ge=least, le=most)]
    return accepted | None if feature.nullable else accepted


def limits(feature: FeatureContract, refuse_out_of_range: bool) -> tuple[float, float]:
    """Return the smallest and the largest number that is accepted for ``feature``."""
    least = feature.minimum if refuse_out_of_range else None
    most = feature.maximum if refuse_out_of_range else None
    return -LARGEST_FLOAT32 if least is None else least, LARGEST_FLOAT32 if most is None else most


class RequestReader:
    """Reads bodies of ``POST /predict``.

    Args:
        contract: What the model expects.
        refuse_out_of_range: Whether a number beyond the contract's range is refused.
    """

    def __init__(self, contract: ModelContract, refuse_out_of_range: bool) -> None:
        self.model = request_model(contract, refuse_out_of_range)
        self._problems = ProblemReader(contract)

    def read(self, body: bytes) -> PredictRequest:
        """Return the request in ``body``.

        Raises:
            RefusalError: 400, it is not JSON; 422, it breaks the contract.
        """
        request = self._problems.validated(self.model, body)
        row = request.row() or ()
        texts = 1 + sum(isinstance(value, str) for value in row)
        refuse_duplicate_keys(body, texts + len(request.model_fields_set) + len(row))
        return request


class ProblemReader:
    """Makes refusals out of what is wrong in a body, and counts the values that are out of range.

    Args:
        contract: Its features, and their ranges.
    """

    def __init__(self, contract: ModelContract) -> None:
        self._ranges = {feature.name: (feature.minimum, feature.maximum) for feature in contract.features}

    def validated(self, model: type[Body], body: bytes) -> Body:
        """Return what ``model`` makes of a JSON body.

        Raises:
            RefusalError: 400, it is not JSON; 422, the model does not accept it.
        """
        try:
            return model.model_validate_json(body)
        except ValidationError as error:
            raise self._refused(error) from None

    def _refused(self, error: ValidationError) -> RefusalError:
        problems = error.errors(include_url=False, include_context=False, include_input=False)
        for problem in problems:
            self.count_out_of_range(problem["loc"], problem["type"])
        if problems[0]["type"] in _MALFORMED:
            return RefusalError(400, "malformed_json", "The body is not a JSON object in UTF-8.")
        return invalid_input([{"field": _name(problem["loc"]), "reason": problem["msg"]} for problem in problems])

    def count_out_of_range(self, location: tuple[int | str, ...], rule: str) -> None:
        """Count a value that was refused, if it was for the contract's range.

        Args:
            location: Where it was: ``("features", name)``, in a batch with the row behind.
            rule: The rule that it broke, by pydantic's name.
        """
        if rule not in _BOUNDS or len(location) < 2:
            return
        name = str(location[1])
        if self._ranges.get(name, (None, None))[_BOUNDS.index(rule)] is not None:
            OUT_OF_RANGE.labels(name).inc()


def refuse_duplicate_keys(body: bytes, strings: int) -> None:
    """Refuse a body in which an object has a key twice; parsers keep the last one and say nothing.

    Args:
        body: A body that was read and accepted.
        strings: How many strings it holds if no key comes twice, keys included. Each has two quotation marks, so that
            counting them tells an ordinary body from one to look at.

    Raises:
        RefusalError: 422; the keys are named.
    """
    if body.count(b'"') == 2 * strings and b"\\" not in body:
        return
    names = sorted(set(_duplicates(json.loads(body, object_pairs_hook=_Pairs))))
    if names:
        raise invalid_input([{"field": name[:_MAX_NAME_LENGTH], "reason": "The key comes twice."} for name in names])


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with all of its keys, also those that come twice."""


def _duplicates(value: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, _Pairs):
        seen = set()
        for key, inner in value:
            if key in seen:
                yield path + key
            seen.add(key)
            yield from _duplicates(inner, f"{path}{key}.")


def invalid_input(problems: Sequence[Mapping[str, str]]) -> RefusalError:
    """Return the refusal of a body that breaks the contract; of many problems it names the first."""
    message = f"The request breaks {len(problems)} rules of the model's contract."
    return RefusalError(422, "invalid_input", message, problems[:MAX_FIELDS_NAMED])


def _name(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)[:_MAX_NAME_LENGTH] or "body"
