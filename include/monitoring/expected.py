"""Expected performance: metrics estimated from a day's probabilities before its labels are known.

The estimate does not show a changed concept: if customers with the same features now churn more or less than before,
only matured labels show the change. The record compares earlier estimates with the realised metrics.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from include.lake import Lake
from include.lake.table_names import SCORES_TABLE
from include.monitoring.performance import Evaluations, matured_days, read_labelled_scores, score_columns
from include.projects import Project
from include.training.evaluation.estimate import estimate_intervals, realised_metrics
from include.training.model.contract import MetricValue

RECORDED_DAYS = 12
"""The number of scored days in the record of estimates."""


@dataclass(frozen=True)
class RecordedEstimate:
    """The estimate of one metric for an earlier day, and the realised value.

    Attributes:
        day: The scored day.
        model_version: The version of the model.
        metric: The metric, as in ``estimate_metrics``.
        estimate: The estimate with its 95 % interval.
        realised: The metric with the labels of the same customers.
        covered: Whether the interval contains ``realised``.
    """

    day: str
    model_version: str
    metric: str
    estimate: MetricValue
    realised: float
    covered: bool


@dataclass(frozen=True)
class Expected:
    """The expected performance of a day's scores.

    Attributes:
        reason: The result in words.
        model_version: The version of the model; None without an estimate.
        customers: The number of scored customers.
        metrics: The estimates of ``estimate_metrics`` with their 95 % intervals.
        record: The estimates of the latest scored days whose labels are known, sorted by day.
        covered: For each metric, the share of the recorded estimates whose interval contains the realised value.
    """

    reason: str
    model_version: str | None = None
    customers: int = 0
    metrics: dict[str, MetricValue] | None = None
    record: tuple[RecordedEstimate, ...] = ()
    covered: dict[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the expected performance as plain JSON types."""
        plain = asdict(self)
        return plain | {"record": list(plain["record"])}


def expected_performance(lake: Lake, project: Project, evaluations: Evaluations, day: dt.date) -> Expected:
    """Estimate the performance of the scores of ``day``, and compare earlier estimates with their labels.

    An earlier estimate depends only on the scores and the model of its day; the labels do not change it.

    Args:
        lake: The lake with ``gold/scores`` and ``gold/labels``.
        project: The project's label and costs.
        evaluations: The evaluations of the models' recipes, with the errors of their estimates.
        day: The monitored day.
    """
    record = _record(lake, project, evaluations, day)
    covered = {
        name: float(np.mean([past.covered for past in record if past.metric == name]))
        for name in dict.fromkeys(past.metric for past in record)
    }
    scores = lake.table(SCORES_TABLE)
    if day not in scores.days():
        return Expected(f"The customers of {day} have not been scored.", record=record, covered=covered)
    rows = scores.read([day], ["churn_probability", "prediction", "model_version"]).to_pandas()
    version = str(rows["model_version"].iloc[0])
    metrics = _estimates(project, evaluations, version, rows)
    if not metrics:
        reason = f"The errors of estimates are not known for model version {version}."
        return Expected(reason, version, len(rows), record=record, covered=covered)
    return Expected(
        reason=f"An estimate from the probabilities of the {len(rows):,} customers of {day}, before their labels are "
        "known. It does not show a changed concept.",
        model_version=version,
        customers=len(rows),
        metrics=metrics,
        record=record,
        covered=covered,
    )


def _estimates(project: Project, evaluations: Evaluations, version: str, rows: pd.DataFrame) -> dict[str, MetricValue]:
    evaluation = evaluations(version)
    if evaluation is None:
        return {}
    return estimate_intervals(project, *score_columns(rows), evaluation.estimate_errors)


def _record(lake: Lake, project: Project, evaluations: Evaluations, day: dt.date) -> tuple[RecordedEstimate, ...]:
    days = matured_days(lake, project, day)[-RECORDED_DAYS:] if project.has_time else []
    if not days:
        return ()
    labelled = read_labelled_scores(lake, project, days)
    found = []
    for scored, rows in labelled.groupby("dt"):
        version = str(rows["model_version"].iloc[0])
        probability, offered = score_columns(rows)
        realised = realised_metrics(project, rows["churned"].to_numpy() == 1, probability, offered)
        for name, estimate in _estimates(project, evaluations, version, rows).items():
            if name in realised:
                covered = estimate.low <= realised[name] <= estimate.high
                found.append(RecordedEstimate(str(scored), version, name, estimate, realised[name], covered))
    return tuple(found)
