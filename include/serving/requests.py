"""What ``POST /predict`` accepts: a model generated from the contract, and the one form in which it refuses.

A refusal names fields and rules. It never repeats a value, and nothing here writes to a log: inputs are personal data.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import bentoml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from starlette.requests import Request
from starlette.responses import JSONResponse

from include.training.bundle import FeatureContract, ModelContract

# The largest finite 32-bit float: the booster reads anything beyond it as infinity.
LARGEST_FLOAT32 = 3.4028234663852886e38
_MAX_FIELDS_NAMED = 200
_MAX_NAME_LENGTH = 100
_MALFORMED = frozenset({"json_invalid", "json_type"})


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())


class Prediction(BaseModel):
    """The answer for one customer."""

    model_config = ConfigDict(protected_namespaces=())

    customer_id: str
    churn_probability: float
    prediction: Literal["churn", "retain"]
    model_version: str


class Refusal:
    """A request that was not understood, and the answer to it.

    Attributes:
        response: The answer, with a status of 4xx.
    """

    def __init__(self, response: JSONResponse) -> None:
        self.response = response


class PredictRequest(bentoml.IODescriptor):  # type: ignore[misc]  # BentoML has no types
    """The body of ``POST /predict``; ``request_model`` adds the features of one model.

    Attributes:
        customer_id: Passed through to the answer.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    customer_id: str = Field(min_length=1, max_length=128)

    @classmethod
    async def from_http_request(cls, request: Request, serde: object) -> Any:
        """Parse the body here: BentoML would log a refused one with its values, and answer in another form."""
        try:
            return cls.model_validate_json(await request.body())
        except ValidationError as error:
            return Refusal(_explain(error))

    def row(self) -> list[float | str | None]:
        """Return the features in the contract's order."""
        features: BaseModel = self.features
        return list(features.__dict__.values())


def request_model(contract: ModelContract) -> type[PredictRequest]:
    """Return the request model of ``contract``: every feature is required, and nothing else is accepted."""
    fields: dict[str, Any] = {
        # Features keep their own names outside; inside, a name such as "copy" would hide a method.
        f"feature_{position}": (_annotation(feature), Field(alias=feature.name, description=feature.description))
        for position, feature in enumerate(contract.features)
    }
    features = create_model("Features", __base__=_Strict, **fields)
    return create_model("PredictRequest", __base__=PredictRequest, features=(features, ...))


def refusal(status: int, kind: str, message: str, fields: list[dict[str, str]] | None = None) -> JSONResponse:
    """Return the answer to a request that is refused: one form for every reason."""
    return JSONResponse({"error": {"kind": kind, "message": message, "fields": fields or []}}, status_code=status)


def _annotation(feature: FeatureContract) -> Any:
    accepted: Any
    if feature.categories:
        accepted = Literal[feature.categories]
    else:
        least = -LARGEST_FLOAT32 if feature.minimum is None else feature.minimum
        most = LARGEST_FLOAT32 if feature.maximum is None else feature.maximum
        accepted = Annotated[float, Field(ge=least, le=most)]
    return accepted | None if feature.nullable else accepted


def _explain(error: ValidationError) -> JSONResponse:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    if problems[0]["type"] in _MALFORMED:
        return refusal(400, "malformed_json", "The body is not a JSON object in UTF-8.")
    fields = [{"field": _name(problem["loc"]), "reason": problem["msg"]} for problem in problems[:_MAX_FIELDS_NAMED]]
    return refusal(422, "invalid_input", f"The request breaks {len(problems)} rules of the model's contract.", fields)


def _name(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location)[:_MAX_NAME_LENGTH] or "body"
