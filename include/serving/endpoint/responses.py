"""The bodies of successful responses."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from include.training.model.contract import FeatureContract, RecipeEvaluation


class _Response(BaseModel):
    model_config = ConfigDict(protected_namespaces=(), from_attributes=True)


class Reason(_Response):
    """One feature that moves a customer's risk."""

    feature: str = Field(description="The feature that moves the risk most among the features of its topic.")
    value: float | str | None = Field(description="The customer's value; null when it is missing.")
    contribution: float = Field(description="The feature's addition to the log-odds of churn.")
    text: str = Field(description="The feature's description and the value, for people.")


class Reasons(_Response):
    """Why a customer's risk is above or below the average."""

    raises: tuple[Reason, ...] = Field(description="The features that raise the risk most, the largest first.")
    lowers: tuple[Reason, ...] = Field(description="The features that lower the risk most, the largest first.")


class Prediction(_Response):
    """The prediction for one customer."""

    customer_id: str
    churn_probability: float = Field(ge=0, le=1)
    prediction: Literal["churn", "retain"] = Field(description="Churn at or above the model's threshold.")
    model_version: str
    features_day: dt.date | None = Field(default=None, description="The day of features from the online store.")
    stale: bool | None = Field(default=None, description="True when the stored features are old; else absent.")
    reasons: Reasons | None = Field(default=None, description="Present when the request sets reasons.")

    def as_json(self) -> bytes:
        """Return the body, without the fields that are not set."""
        return self.model_dump_json(exclude_unset=True).encode()


class BatchPrediction(_Response):
    """The predictions for many customers, in the order of the request."""

    customer_ids: list[str]
    churn_probabilities: list[Annotated[float, Field(ge=0, le=1)]]
    predictions: list[Literal["churn", "retain"]]
    model_version: str


class Health(_Response):
    """The loaded model. The server accepts no connection before a model is loaded."""

    status: Literal["healthy"]
    model_loaded: Literal[True]
    model_version: str
    bento: str


class ModelDescription(_Response):
    """The model's training and inputs."""

    model_version: str
    bento: str
    project: str
    run_id: str
    trained_through: dt.date = Field(description="The last snapshot day that the model was fitted on.")
    half_life_days: float | None = Field(
        description="The age in days that halves the weight of a training row; null if the weights are equal."
    )
    evaluation: RecipeEvaluation | None = Field(
        description="The test of the model's recipe, by a model that was fitted on earlier snapshots only."
    )
    label: str
    horizon_days: int = Field(description="The number of days after the snapshot that the label covers.")
    threshold: float = Field(description="The lowest probability with the prediction churn.")
    features: tuple[FeatureContract, ...]
    tables: dict[str, int] = Field(description="The Delta version of every table that the training read.")
