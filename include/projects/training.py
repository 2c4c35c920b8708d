"""``training.yaml``: tuning, split, leakage limits and promotion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from include.projects.yaml_files import Config


class IntRange(Config):
    """The integers from ``low`` to ``high``; both are at least 1."""

    low: int = Field(ge=1)
    high: int = Field(ge=1)

    @model_validator(mode="after")
    def _check_order(self) -> IntRange:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self


class FloatRange(Config):
    """The numbers from ``low`` to ``high``; ``log`` selects a logarithmic scale."""

    low: float = Field(ge=0, allow_inf_nan=False)
    high: float = Field(ge=0, allow_inf_nan=False)
    log: bool = False

    @model_validator(mode="after")
    def _check_order(self) -> FloatRange:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError("low must be above zero on a logarithmic scale")
        return self


class SearchSpace(Config):
    """The hyperparameters of XGBoost that the tuner searches."""

    n_estimators: IntRange
    max_depth: IntRange
    learning_rate: FloatRange
    subsample: FloatRange
    colsample_bytree: FloatRange
    min_child_weight: FloatRange

    @field_validator("learning_rate", "subsample", "colsample_bytree")
    @classmethod
    def _check_share(cls, value: FloatRange) -> FloatRange:
        if value.low <= 0 or value.high > 1:
            raise ValueError(f"low ({value.low:g}) must be above 0, and high ({value.high:g}) at most 1")
        return value


class Promotion(Config):
    """The conditions under which a challenger replaces the champion, or becomes the first champion.

    Attributes:
        margin_usd_per_1000: The additional saving per 1,000 customers, in US dollars, that justifies another model.
        first_margin_usd_per_1000: The additional saving over no offers and over offers to all customers that justifies
            a first model.
        refresh_margin_auc: The largest tolerated loss of AUC when the champion's recipe is fitted on newer rows. The
            lower bound of the difference to an older fit must be above minus this margin.
        confidence: The confidence level of the comparison with the champion; the lower bound of the additional saving
            must exceed the margin. A first champion needs a higher confidence; see ``first_confidence``.
        approval: ``required``: a model that meets the conditions, also a first model, becomes the champion only if a
            person approves it. ``none``: it becomes the champion.
        approval_hours: The time for the approval, in hours. Without a response, the champion stays.
    """

    margin_usd_per_1000: float = Field(ge=0)
    first_margin_usd_per_1000: float = Field(default=100, ge=0)
    refresh_margin_auc: float = Field(default=0.005, ge=0, le=0.1)
    confidence: float = Field(default=0.95, ge=0.5, lt=1)
    approval: Literal["none", "required"] = "none"
    approval_hours: float = Field(default=24, gt=0, le=24 * 30)

    @property
    def first_confidence(self) -> float:
        """The confidence level of each bound of a first champion.

        Trainings are repeated until a model is promoted, so a model without skill could be promoted by chance in one of
        them. The error is divided by ten (Bonferroni): with a confidence of .95, at most one of twenty models without
        skill would be promoted in ten trainings.
        """
        return 1 - (1 - self.confidence) / 10


class LeakageLimits(Config):
    """The limits above which a leak is suspected; a suspected model is never promoted.

    Attributes:
        max_single_feature_auc: The largest AUC of a single feature on the test.
        max_auc_drop: The largest loss of AUC under a stricter split, beyond chance.
    """

    max_single_feature_auc: float = Field(default=0.95, gt=0.5, le=1)
    max_auc_drop: float = Field(default=0.05, gt=0, lt=0.5)


class Training(Config):
    """The contents of ``training.yaml``.

    Attributes:
        every_days: The days between two trainings that the daily ingest requests, counted from the first snapshot.
        n_trials: The largest number of trials; the search ends earlier if the score no longer improves significantly.
        seed: The seed of sampler, booster and every random draw.
        cv_folds: The number of folds. With time, the folds are consecutive snapshot periods; without time, each fold
            has its own customers.
        test_snapshots: With time: the number of latest matured snapshots in the test.
        test_share: Without time: the share of customers in the test.
        max_bin: The number of histogram bins of the model.
        tuning_bins: The number of histogram bins of the trials. With fewer bins, trials are faster and rank
            hyperparameters equally well.
        metric: The score of a trial, as a mean over the folds: average precision rates the ranking, F1 rates decisions
            at the threshold 0.5.
        max_rows: If there are more labelled rows than this, the data set has the rows of a sample of customers of about
            this size, so that a training fits into the memory of a machine. None: all rows.
        tuning_rows: If there are more training rows than this, the trials use the rows of a sample of customers of
            about this size. The model itself uses all rows of the data set.
        segments: The features by which the model card splits the evaluation: by category, or by quartiles of a number.
        resamples: The number of bootstrap samples of customers for each confidence interval.
        leakage: The limits above which a leak is suspected.
        search_space: The hyperparameters searched.
        promotion: The condition on which a challenger replaces the champion.
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
    max_rows: int | None = Field(default=None, ge=1000)
    tuning_rows: int | None = Field(default=None, ge=100)
    segments: tuple[str, ...] = ()
    resamples: int = Field(default=500, ge=100, le=10_000)
    leakage: LeakageLimits = LeakageLimits()
    search_space: SearchSpace
    promotion: Promotion
