"""``monitoring.yaml``: how production data and the model's performance are watched."""

from __future__ import annotations

from pydantic import Field, model_validator

from include.projects.base import Config


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
