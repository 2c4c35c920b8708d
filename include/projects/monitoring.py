"""``monitoring.yaml``: the drift rules and the limits of the model's performance in production."""

from __future__ import annotations

from pydantic import Field, model_validator

from include.projects.yaml_files import Config


class DriftRules(Config):
    """The limits above which a feature counts as drifted.

    With the default values, 0-1 % of the days of a simulation without drift raised a false alarm.

    Attributes:
        wasserstein: Numbers: the Wasserstein distance divided by the reference's standard deviation.
        ks_distance: Numbers: the Kolmogorov-Smirnov distance; the test must also be significant.
        category_share: Categories: the change of a category's share; the test must also be significant.
        missing_share: The change of the missing rate; ``missing_z`` must be exceeded, too.
        missing_z: The z-score of the missing rate's change.
        significance: The significance level, which is divided by the number of features (Bonferroni).
    """

    wasserstein: float = 0.1
    ks_distance: float = 0.05
    category_share: float = 0.05
    missing_share: float = 0.02
    missing_z: float = 5.0
    significance: float = 0.05


class Monitoring(Config):
    """The contents of ``monitoring.yaml``.

    Attributes:
        window_days: The days of production data that are compared with the training data, with one row per customer.
        min_drifted_features: The number of drifted features from which the verdict is drift.
        retrain_on_drift: Whether drift requests a training.
        min_churners: The number of churners with matured labels from which there is a verdict on the performance.
        sample_rows: The largest number of rows in the sample of the HTML report.
        rules: The limits of a single feature.
    """

    window_days: int = Field(ge=1)
    min_drifted_features: int = Field(ge=1)
    retrain_on_drift: bool
    min_churners: int = Field(default=100, ge=20)
    sample_rows: int = Field(ge=100, le=10_000)
    rules: DriftRules = DriftRules()

    @model_validator(mode="after")
    def _check_limits(self) -> Monitoring:
        for name, value in self.rules:
            if value <= 0:
                raise ValueError(f"rules.{name} must be above zero")
        return self
