"""The configuration of the label, the model's requirements, its training, and its monitoring."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from include.projects.base import Config


class NoEventLabel(Config):
    """Churn without a contract: no event of ``source`` in ``(D, D + horizon_days]``."""

    name: str = "churned"
    description: str
    kind: Literal["no_event"]
    source: str
    horizon_days: int = Field(ge=1)


class BecomesLabel(Config):
    """Churn by contract: in ``(D, D + horizon_days]`` the customer's ``column`` in ``source`` becomes ``value``."""

    name: str = "churned"
    description: str
    kind: Literal["becomes"]
    source: str
    column: str
    value: str
    horizon_days: int = Field(ge=1)


class ColumnLabel(Config):
    """A table without time: ``column`` of the customer's row in ``source`` says who churned, by being ``value``.

    Nothing is known of before and after, so such a project is judged by stratified cross-validation, and its rows are
    all those of one delivery.
    """

    name: str = "churned"
    description: str
    kind: Literal["column"]
    source: str
    column: str
    value: str

    @property
    def horizon_days(self) -> int:
        """Zero: the label is known with the row."""
        return 0


Label = Annotated[NoEventLabel | BecomesLabel | ColumnLabel, Field(discriminator="kind")]


Mode = Literal["disabled", "dry_run", "enabled"]
"""What a missed requirement does: ``enabled`` stops, ``dry_run`` reports, and ``disabled`` does not even look."""


class Baselines(Config):
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

        Example:
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
    metrics: Baselines
    performance: Performance


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


class DriftRules(Config):
    """When a feature counts as drifted; the defaults kept false alarms at 0-1 % of days in simulation.

    Attributes:
        wasserstein: Numbers: Wasserstein distance over the reference's standard deviation.
        ks_distance: Numbers: Kolmogorov-Smirnov distance, needed beside significance.
        category_share: Categories: change of a share, needed beside significance.
        missing_share: Change of the missing rate, needed beside ``missing_z``.
        missing_z: z of the missing rate's change.
        significance: Level, divided by the number of features (Bonferroni).
    """

    wasserstein: float = 0.1
    ks_distance: float = 0.05
    category_share: float = 0.05
    missing_share: float = 0.02
    missing_z: float = 5.0
    significance: float = 0.05


class Monitoring(Config):
    """``monitoring.yaml``: how production is watched.

    Attributes:
        window_days: Days of production data compared, one row per customer.
        min_drifted_features: How many features must drift for the verdict to be drift.
        retrain_on_drift: Whether drift asks for a training.
        max_auc_drop: Realised AUC may be this much below the test's.
        sample_rows: Rows in the HTML report's sample, at most.
    """

    window_days: int = Field(ge=1)
    min_drifted_features: int = Field(ge=1)
    retrain_on_drift: bool
    max_auc_drop: float = Field(gt=0, lt=1)
    sample_rows: int = Field(ge=100, le=10_000)
    rules: DriftRules = DriftRules()

    @model_validator(mode="after")
    def _thresholds_are_positive(self) -> Monitoring:
        for name, value in self.rules:
            if value <= 0:
                raise ValueError(f"rules.{name} must be above zero")
        return self
