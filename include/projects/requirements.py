"""``requirements.yaml``: the requirements on training data, model and endpoint, and the costs of wrong decisions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from include.projects.yaml_files import Config

Mode = Literal["disabled", "dry_run", "enabled"]
"""The effect of a missed requirement: ``enabled`` stops, ``dry_run`` reports, ``disabled`` skips the check."""


class RequiredMetrics(Config):
    """The minimum metrics on the test set, with decisions at a probability of 0.5."""

    mode: Mode = "enabled"
    accuracy: float = Field(ge=0, le=1)
    precision: float = Field(ge=0, le=1)
    recall: float = Field(ge=0, le=1)
    f1: float = Field(ge=0, le=1)

    def limits(self) -> dict[str, float]:
        """Return the minimum of each metric."""
        return self.model_dump(exclude={"mode"})


class Costs(Config):
    """The costs of the two kinds of error, in US dollars."""

    missed_churner_usd: float = Field(gt=0)
    needless_offer_usd: float = Field(gt=0)

    @property
    def threshold(self) -> float:
        """The probability from which an offer saves more than it costs.

        At probability p an offer saves ``p * missed`` and costs ``(1 - p) * needless`` on average. Both are equal at
        ``needless / (missed + needless)``. Source: Elkan, The Foundations of Cost-Sensitive Learning (2001), where
        right decisions have no cost.

        Examples:
            >>> round(Costs(missed_churner_usd=500, needless_offer_usd=50).threshold, 4)
            0.0909
        """
        return self.needless_offer_usd / (self.missed_churner_usd + self.needless_offer_usd)


class DataRequirements(Config):
    """The requirements on the training data, checked before a training."""

    mode: Mode = "enabled"
    min_training_samples: int = Field(ge=1)
    min_positive_ratio: float = Field(ge=0, le=1)
    min_features: int = Field(ge=1)
    max_features: int = Field(ge=1)

    @model_validator(mode="after")
    def _check_range(self) -> DataRequirements:
        if self.min_features > self.max_features:
            raise ValueError(f"min_features ({self.min_features}) is above max_features ({self.max_features})")
        return self


class Performance(Config):
    """The limits on the duration of a training, and on latency and throughput of the endpoint under load."""

    mode: Mode = "enabled"
    max_training_hours: float = Field(gt=0)
    max_inference_p99_ms: float = Field(gt=0)
    min_predictions_per_second: float = Field(gt=0)


class Requirements(Config):
    """The contents of ``requirements.yaml``.

    Attributes:
        target: The label's name.
        notes: Remarks on the requirements for the model card.
        costs: The costs that determine which customers get an offer, and which of two models is better.
        data: The requirements checked before a training.
        metrics: The requirements checked after a training.
        performance: The training's duration is checked after a training, the rest in a load test.
    """

    target: str
    notes: str = ""
    costs: Costs
    data: DataRequirements
    metrics: RequiredMetrics
    performance: Performance

    @model_validator(mode="before")
    @classmethod
    def _drop_problem_type(cls, content: Any) -> Any:
        # Version 0.1 required the key. Its files, and the configuration stored beside its data sets, stay valid.
        if isinstance(content, dict) and content.get("problem_type") == "binary_classification":
            return {key: value for key, value in content.items() if key != "problem_type"}
        return content
