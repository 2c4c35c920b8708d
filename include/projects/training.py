"""``training.yaml``: how a model is tuned, fitted, tested and promoted."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from include.projects.base import Config


class IntRange(Config):
    """Whole numbers from ``low`` to ``high``, both at least 1."""

    low: int = Field(ge=1)
    high: int = Field(ge=1)

    @model_validator(mode="after")
    def _is_a_range(self) -> IntRange:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self


class FloatRange(Config):
    """Numbers from ``low`` to ``high``, none below 0, searched on a logarithmic scale where ``log``."""

    low: float = Field(ge=0, allow_inf_nan=False)
    high: float = Field(ge=0, allow_inf_nan=False)
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> FloatRange:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError("low must be above zero on a logarithmic scale")
        return self


class SearchSpace(Config):
    """What the tuner searches, within what XGBoost takes."""

    n_estimators: IntRange
    max_depth: IntRange
    learning_rate: FloatRange
    subsample: FloatRange
    colsample_bytree: FloatRange
    min_child_weight: FloatRange

    @field_validator("learning_rate", "subsample", "colsample_bytree")
    @classmethod
    def _is_a_share(cls, value: FloatRange) -> FloatRange:
        if value.low <= 0 or value.high > 1:
            raise ValueError(f"low ({value.low:g}) must be above 0, and high ({value.high:g}) at most 1")
        return value


class Promotion(Config):
    """When a challenger replaces the champion.

    Attributes:
        margin_usd_per_1000: What it must save more on 1,000 customers, in US dollars: what changing models is worth.
        confidence: How sure that must be: it is the lower confidence bound that must clear the margin.
    """

    margin_usd_per_1000: float = Field(ge=0)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)


class LeakageLimits(Config):
    """What a model may look like before a leak is suspected; a model with a suspicion is never promoted.

    Attributes:
        max_single_feature_auc: The AUC that one feature alone may have on the test.
        max_auc_drop: How much AUC a stricter split may cost, beyond chance.
    """

    max_single_feature_auc: float = Field(default=0.95, gt=0.5, le=1)
    max_auc_drop: float = Field(default=0.05, gt=0, lt=0.5)


class Training(Config):
    """``training.yaml``: how a model is trained.

    Attributes:
        every_days: How often the daily ingest asks for a training, counted from the first snapshot.
        n_trials: Trials of the tuner.
        seed: Seeds sampler, booster and every draw.
        cv_folds: Folds: by time, each one snapshot period after the other; without time, each with its own customers.
        test_snapshots: With time: how many of the latest matured snapshots are the test.
        test_share: Without time: the share of the customers that are the test.
        max_bin: Histogram bins of the model.
        tuning_bins: Histogram bins of the trials. Fewer are faster, and tell good hyperparameters from bad as well.
        metric: The score of a trial, as a mean over the folds: average precision, which judges the ranking, or F1,
            which judges the threshold 0.5.
        tuning_rows: With more training rows than this, trials use those of a sample of the customers, of about this
            size. The model itself always learns from all rows.
        segments: Features by whose values the model card judges the model: categories, and numbers by quarters.
        resamples: Draws of customers behind every confidence interval.
        leakage: What a model may look like before a leak is suspected.
    """

    every_days: int = Field(ge=1)
    n_trials: int = Field(ge=1)
    seed: int
    cv_folds: int = Field(ge=2)
    test_snapshots: int = Field(default=0, ge=0)
    test_share: float = Field(default=0.0, ge=0, lt=1)
    max_bin: int = Field(ge=8, le=1024)
    tuning_bins: int = Field(default=32, ge=8, le=1024)
    metric: Literal["average_precision", "f1"] = "average_precision"
    tuning_rows: int | None = Field(default=None, ge=100)
    segments: tuple[str, ...] = ()
    resamples: int = Field(default=500, ge=100, le=10_000)
    leakage: LeakageLimits = LeakageLimits()
    search_space: SearchSpace
    promotion: Promotion
