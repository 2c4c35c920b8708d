"""Error responses, which have the same form for every failed request.

An error response names fields and rules. Error responses and logs never contain values of a request, because requests
contain personal data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field
from starlette.responses import JSONResponse

from include.plurals import counted
from include.serving.endpoint.metrics import ERRORS

MAX_FIELDS = 200
"""The largest number of fields that an error response names."""


class Problem(BaseModel):
    """One error in a body."""

    field: str = Field(description="The field, such as features.age; in a batch with its row, counted from 0.")
    reason: str


class ErrorDetail(BaseModel):
    """Why a request failed."""

    kind: str = Field(description="A code for programs.")
    message: str = Field(description="A sentence for people.")
    fields: list[Problem]


class Error(BaseModel):
    """The body of every error response."""

    error: ErrorDetail


class RequestError(Exception):
    """A request that is answered with an error response.

    Args:
        status: The HTTP status.
        kind: See ``error_response``.
        message: See ``error_response``.
        fields: See ``error_response``.

    Attributes:
        response: The error response.
    """

    def __init__(self, status: int, kind: str, message: str, fields: Sequence[Mapping[str, str]] = ()) -> None:
        super().__init__(kind)
        self.response = error_response(status, kind, message, fields)


def error_response(
    status: int,
    kind: str,
    message: str,
    fields: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return an error response, and count it.

    Args:
        status: The HTTP status.
        kind: A code for programs, from a small fixed set; the label of the metric.
        message: A sentence for people.
        fields: ``{"field": ..., "reason": ...}`` for each error in the body.
        headers: Additional headers.
    """
    ERRORS.labels(kind).inc()
    return JSONResponse(error_content(kind, message, fields), status, dict(headers or {}))


def error_content(kind: str, message: str, fields: Sequence[Mapping[str, str]] = ()) -> dict[str, Any]:
    """Return the body of an error response.

    Args:
        kind: A code for programs.
        message: A sentence for people.
        fields: ``{"field": ..., "reason": ...}`` for each error in the body.
    """
    return {"error": {"kind": kind, "message": message, "fields": list(fields)}}


def invalid_input(problems: Sequence[Mapping[str, str]]) -> RequestError:
    """Return the error of a body that breaks the contract, with at most ``MAX_FIELDS`` of the problems."""
    message = f"The request breaks {counted(len(problems), 'rule')} of the model's contract."
    return RequestError(422, "invalid_input", message, problems[:MAX_FIELDS])
