"""The configuration of the label, the model's requirements, its training, and its monitoring."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

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


class Baselines(Config):
    """Metrics that a model should reach on the test."""

    accuracy: float = Field(ge=0, le=1)
    precision: float = Field(ge=0, le=1)
    recall: float = Field(ge=0, le=1)
    f1: float = Field(ge=0, le=1)


class Costs(Config):
    """What the two kinds of error cost, in US dollars."""

    missed_churner_usd: float = Field(gt=0)
    needless_offer_usd: float = Field(gt=0)

    @property
    def threshold(self) -> float:
        """The probability above which an offer pays: its cost over the cost of a missed churner."""
        return self.needless_offer_usd / self.missed_churner_usd


class DataRequirements(Config):
    """What the training data must be before training starts."""

    min_training_samples: int = Field(ge=1)
    min_positive_ratio: float = Field(ge=0, le=1)
    min_features: int = Field(ge=1)
    max_features: int = Field(ge=1)


class Performance(Config):
    """Limits on time and throughput."""

    max_training_hours: float = Field(gt=0)
    max_inference_p99_ms: float = Field(gt=0)
    min_predictions_per_second: float = Field(gt=0)


class Requirements(Config):
    """``requirements.yaml``: what a model of this business must satisfy.

    Attributes:
        metrics_mode: ``enabled`` refuses a model below the baselines; ``dry_run`` reports; ``disabled`` skips.
    """

    problem_type: Literal["binary_classification"]
    target: str
    notes: str = ""
    metrics_mode: Literal["disabled", "dry_run", "enabled"] = "enabled"
    metrics: Baselines
    costs: Costs
    data: DataRequirements
    performance: Performance


class IntRange(Config):
    """Whole numbers from ``low`` to ``high``."""

    low: int
    high: int

    @model_validator(mode="after")
    def _is_a_range(self) -> IntRange:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self


class FloatRange(Config):
    """Numbers from ``low`` to ``high``, searched on a logarithmic scale where ``log``."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _is_a_range(self) -> FloatRange:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError("low must be above zero on a logarithmic scale")
        return self


class SearchSpace(Config):
    """What the tuner searches."""

    n_estimators: IntRange
    max_depth: IntRange
    learning_rate: FloatRange
    subsample: FloatRange
    colsample_bytree: FloatRange
    min_child_weight: FloatRange


class Promotion(Config):
    """When a challenger replaces the champion: its saving per 1,000 customers must be larger by this margin."""

    margin_usd_per_1000: float = Field(ge=0)


class Training(Config):
    """``training.yaml``: how a model is trained.

    Attributes:
        every_days: How often the daily ingest asks for a training, counted from the first snapshot.
        n_trials: Trials of the tuner.
        seed: Seeds sampler, booster and every draw.
        cv_folds: Folds: by time, each one snapshot period after the other; without time, each with its own customers.
        test_snapshots: With time: how many of the latest matured snapshots are the test.
        test_share: Without time: the share of the customers that are the test.
        max_bin: Histogram bins.
    """

    every_days: int = Field(ge=1)
    n_trials: int = Field(ge=1)
    seed: int
    cv_folds: int = Field(ge=2)
    test_snapshots: int = Field(default=0, ge=0)
    test_share: float = Field(default=0.0, ge=0, lt=1)
    max_bin: int = Field(ge=8, le=1024)
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
