"""``monitoring.yaml``: the drift rule with its budget of false verdicts, and the limits of the realised performance."""

from __future__ import annotations

import datetime as dt

from pydantic import Field, model_validator

from include.plurals import counted
from include.projects.yaml_files import Config


class Backtest(Config):
    """The outcome of the drift rule on the project's own past, as printed by ``python -m include.monitoring backtest``.

    Attributes:
        through: The last replayed day.
        days: The number of days that the windows of the replayed days represent.
        alarms: The number of alarms. They are assumed to be false verdicts.
        upper95_per_year: The 95 % upper bound of the number of false verdicts a year.
        multiplier: The limit that was replayed; see ``DriftLimits``.
        exceeded_days: The limit that was replayed.
        of_days: The limit that was replayed.
    """

    through: dt.date
    days: int = Field(ge=1)
    alarms: int = Field(ge=0)
    upper95_per_year: float = Field(gt=0)
    multiplier: float
    exceeded_days: int
    of_days: int


class DriftLimits(Config):
    """The limits from which a change of the inputs or of the scores is drift.

    Attributes:
        budget_per_year: The largest tolerated number of false verdicts a year.
        multiplier: The lowest severity of a drifted feature: its change is at least this multiple of its natural
            variation.
        exceeded_days: The verdict is drift if at least this number of the judged days exceed the limits.
        of_days: The number of days in gold, up to the monitored day, that are judged.
        min_influence: The lowest influence of a feature that counts; a drifted feature below it is only reported.
        backtest: The outcome of these limits on the project's own past; None if it is not known.
    """

    budget_per_year: float = Field(default=1.0, gt=0)
    multiplier: float = Field(default=1.5, ge=1)
    exceeded_days: int = Field(default=2, ge=1)
    of_days: int = Field(default=3, ge=1)
    min_influence: float = Field(default=0.01, ge=0, le=1)
    backtest: Backtest | None = None

    @model_validator(mode="after")
    def _check_days(self) -> DriftLimits:
        if self.exceeded_days > self.of_days:
            raise ValueError("exceeded_days must not be above of_days")
        return self

    @property
    def promise(self) -> str:
        """Whether the backtest confirms the budget of false verdicts, as one sentence."""
        budget = f"the budget of {self.budget_per_year:g} a year"
        found, limits = self.backtest, (self.multiplier, self.exceeded_days, self.of_days)
        if found is None or (found.multiplier, found.exceeded_days, found.of_days) != limits:
            remark = "No backtest of these limits is recorded in monitoring.yaml"
            return f"{remark}, so {budget} for false verdicts is not confirmed."
        outcome = (
            f"{counted(found.alarms, 'false verdict')} on {found.days:,} past days, "
            f"at most {found.upper95_per_year:.1f} a year with 95 % confidence"
        )
        kept = found.upper95_per_year <= self.budget_per_year
        return f"Backtest: {outcome}; " + (f"{budget} is kept." if kept else f"{budget} is not confirmed.")


class Monitoring(Config):
    """The contents of ``monitoring.yaml``.

    Attributes:
        window_days: The number of days of production data that are compared with the training data, with one row per
            customer. If the days contain a snapshot, only the rows of snapshots are compared, since the training data
            consists of snapshots. The realised performance and the rows of the sources have windows of the same length.
        retrain_saving_change: Drift requests a training if it changes the expected saving by more than this share of
            the expected saving in the reference.
        retrain_cooldown_days: Decay and drift request no training if another request, or the data set of the deployed
            model, is less than this number of days away. The deployed model cannot be judged before the horizon of the
            label has passed, so decay requests a training after each cool-down until then. A short cool-down learns
            from the first labels after a change; a long cool-down needs fewer trainings.
        min_churners: The smallest number of churners with matured labels for a verdict on the realised performance.
        sample_rows: The largest number of rows in the sample of the HTML report.
        drift: The limits from which a change of the inputs or of the scores is drift.
    """

    window_days: int = Field(ge=1)
    retrain_saving_change: float = Field(default=0.1, gt=0)
    retrain_cooldown_days: int = Field(default=7, ge=1)
    min_churners: int = Field(default=100, ge=20)
    sample_rows: int = Field(ge=100, le=10_000)
    drift: DriftLimits = DriftLimits()

    @property
    def retrain_cooldown(self) -> dt.timedelta:
        """The cool-down as a duration."""
        return dt.timedelta(days=self.retrain_cooldown_days)
