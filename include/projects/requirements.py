"""``requirements.yaml``: what the training data, the model and the endpoint must satisfy, and what errors cost."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from include.projects.base import Config

Mode = Literal["disabled", "dry_run", "enabled"]
"""What a missed requirement does: ``enabled`` stops, ``dry_run`` reports, and ``disabled`` does not even look."""


class RequiredMetrics(Config):
    """Metrics that a model should reach on the test, with decisions at a probability of 0.5."""

    mode: Mode = "enabled"
    accuracy: float = Field(ge=0, le=1)
    precision: float = Field(ge=0, le=1)
    recall: float = Field(ge=0, le=1)
    f1: float = Field(ge=0, le=1)

    def limits(self) -> dict[str, float]:
        """Return the smallest value of each metric."""
        return self.model_dump(exclude={"mode"})


class Costs(Config):
    """What the two kinds of error cost, in US dollars."""

    missed_churner_usd: float = Field(gt=0)
    needless_offer_usd: float = Field(gt=0)

    @property
    def threshold(self) -> float:
        """The probability from which an offer pays: the cost of a needless one over both costs.

        At p an offer is expected to save ``p * missed`` and to cost ``(1 - p) * needless``; both are equal here. Elkan,
        The Foundations of Cost-Sensitive Learning (2001), with right decisions that cost nothing.

        Examples:
            >>> round(Costs(missed_churner_usd=500, needless_offer_usd=50).threshold, 4)
            0.0909
        """
        return self.needless_offer_usd / (self.missed_churner_usd + self.needless_offer_usd)


class DataRequirements(Config):
    """What the training data must be before training starts."""

    mode: Mode = "enabled"
    min_training_samples: int = Field(ge=1)
    min_positive_ratio: float = Field(ge=0, le=1)
    min_features: int = Field(ge=1)
    max_features: int = Field(ge=1)

    @model_validator(mode="after")
    def _features_are_a_range(self) -> DataRequirements:
        if self.min_features > self.max_features:
            raise ValueError(f"min_features ({self.min_features}) is above max_features ({self.max_features})")
        return self


class Performance(Config):
    """Limits on time and throughput: of the training when it has ended, of the endpoint under load."""

    mode: Mode = "enabled"
    max_training_hours: float = Field(gt=0)
    max_inference_p99_ms: float = Field(gt=0)
    min_predictions_per_second: float = Field(gt=0)


class Requirements(Config):
    """``requirements.yaml``: what a model of this business must satisfy.

    Attributes:
        problem_type: What is predicted; a label is one of two answers.
        target: The label's name.
        notes: What a reader of the model card should know about the requirements.
        costs: They decide who gets an offer, and which of two models is better.
        data: Checked before training.
        metrics: Checked after training.
        performance: The training's time is checked after it.
    """

    problem_type: Literal["binary_classification"]
    target: str
    notes: str = ""
    costs: Costs
    data: DataRequirements
    metrics: RequiredMetrics
    performance: Performance
