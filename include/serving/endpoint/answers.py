"""What the endpoint answers."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from include.training.model.contract import FeatureContract


class _Answer(BaseModel):
    model_config = ConfigDict(protected_namespaces=(), from_attributes=True)


class Reason(_Answer):
    """One thing that moves a customer's risk."""

    feature: str = Field(description="The feature; of those of its topic, the one that moves the risk most.")
    value: float | str | None = Field(description="The customer's value; null when it is missing.")
    contribution: float = Field(description="What it adds to the log-odds of churn.")
    text: str = Field(description="The feature's description and the value, for people.")


class Reasons(_Answer):
    """Why a customer's risk is above or below the average."""

    raises: tuple[Reason, ...] = Field(description="What raises the risk most, the largest first.")
    lowers: tuple[Reason, ...] = Field(description="What lowers it most, the largest first.")


class Prediction(_Answer):
    """The answer for one customer."""

    customer_id: str
    churn_probability: float = Field(ge=0, le=1)
    prediction: Literal["churn", "retain"] = Field(description="What the model's cost threshold makes of it.")
    model_version: str
    features_day: dt.date | None = Field(default=None, description="The day of the features, where they were stored.")
    stale: bool | None = Field(default=None, description="True when the stored features are old; else absent.")
    reasons: Reasons | None = Field(default=None, description="Only when asked for.")

    def as_json(self) -> bytes:
        """Return the answer without the fields that do not apply to it."""
        return self.model_dump_json(exclude_unset=True).encode()


class BatchPrediction(_Answer):
    """The answers for many customers, in the order in which they were sent."""

    customer_ids: list[str]
    churn_probabilities: list[Annotated[float, Field(ge=0, le=1)]]
    predictions: list[Literal["churn", "retain"]]
    model_version: str


class Health(_Answer):
    """Says that the model is loaded, and which one it is; the server answers nothing before it is."""

    status: Literal["healthy"]
    model_loaded: Literal[True]
    model_version: str
    bento: str


class ModelDescription(_Answer):
    """The model that answers: where it comes from, and what it expects."""

    model_version: str
    bento: str
    project: str
    run_id: str
    trained_through: dt.date = Field(description="The last snapshot day in the training set.")
    label: str
    horizon_days: int = Field(description="How many days after the snapshot the label looks at.")
    threshold: float = Field(description="The smallest probability that is answered with churn.")
    features: tuple[FeatureContract, ...]
    tables: dict[str, int] = Field(description="The Delta version of every table that the training read.")


class Problem(_Answer):
    """One thing that is wrong in a body."""

    field: str = Field(description="Its place, such as features.age; in a batch with the row, counted from 0.")
    reason: str


class ErrorDetail(_Answer):
    """Why a request is not answered."""

    kind: str = Field(description="A word for programs.")
    message: str = Field(description="A sentence for people.")
    fields: list[Problem]


class Error(_Answer):
    """The answer to every request that is refused."""

    error: ErrorDetail
