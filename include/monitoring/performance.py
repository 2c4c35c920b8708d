"""Realised performance: what the model said, against what happened once the label's horizon had passed."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import brier_score_loss, roc_auc_score

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE, SCORES_TABLE
from include.monitoring.windows import latest_per_customer
from include.projects import Project
from include.training.model.bundle import Bundle


@dataclass(frozen=True)
class Performance:
    """How scores turned out; every figure is None while nothing has matured.

    Attributes:
        state: ``known``; ``not yet known`` while no scored day has matured; or ``not known`` where data has no time.
        reason: The finding in words.
        decayed: Whether the AUC fell by more than the project allows.
        first_day: The first scored day judged.
        last_day: The last one.
        rows: Customers judged, each by the latest score.
        auc: Area under the ROC curve; also None when all customers, or none, churned.
        test_auc: The deployed model's AUC on the snapshots that it was tested on.
        brier: Brier score.
        accuracy: Share of customers whose prediction came true.
        observed_churn: Share of customers who churned.
        expected_churn: The mean of the probabilities given.
        observed_over_expected: Their ratio; far from 1, the probabilities no longer mean what they say.
    """

    state: str
    reason: str
    decayed: bool = False
    first_day: str | None = None
    last_day: str | None = None
    rows: int = 0
    auc: float | None = None
    test_auc: float | None = None
    brier: float | None = None
    accuracy: float | None = None
    observed_churn: float | None = None
    expected_churn: float | None = None
    observed_over_expected: float | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the performance as plain JSON types."""
        return asdict(self)


def realised_performance(lake: Lake, project: Project, bundle: Bundle, version: str, day: dt.date) -> Performance:
    """Judge the scores of the latest ``window_days`` whose labels were known when ``day`` closed.

    Args:
        lake: Holds ``gold/scores`` and ``gold/labels``.
        project: Names the label and how far the AUC may fall.
        bundle: The deployed model, for its AUC on the test.
        version: The version of the deployed model.
        day: The day monitored.
    """
    if not project.has_time:
        return Performance("not known", "This data has no time: a label comes with its row, and none follows a score.")
    days = _matured(lake, project, day)
    if not days:
        return Performance(
            "not yet known", f"No scored day has matured by {day}; a label takes {project.label.horizon_days} days."
        )
    joined = _scores_with_labels(lake, project, days, version)
    if joined.empty:
        return Performance("not yet known", f"No score of model version {version} has matured by {day}.")
    return judge(joined, days, _test_auc(lake, project, bundle), project)


def _matured(lake: Lake, project: Project, day: dt.date) -> list[dt.date]:
    horizon = dt.timedelta(days=project.label.horizon_days)
    labelled = set(lake.table(LABELS_TABLE).days())
    matured = [scored for scored in lake.table(SCORES_TABLE).days() if scored + horizon <= day and scored in labelled]
    if not matured:
        return []
    span = DayRange.ending(matured[-1], project.monitoring.window_days)
    return [scored for scored in matured if scored in span]


def _scores_with_labels(lake: Lake, project: Project, days: list[dt.date], version: str) -> pd.DataFrame:
    columns = ["dt", "customer_id", "churn_probability", "prediction", "model_version"]
    scores = lake.table(SCORES_TABLE).read(days, columns).to_pandas()
    # A former model's scores say nothing about the one that is deployed now.
    scores = scores[scores["model_version"] == version]
    joined = scores.merge(labels_of(lake, project, days), on=["dt", "customer_id"])
    return latest_per_customer(joined)


def labels_of(lake: Lake, project: Project, days: list[dt.date]) -> pd.DataFrame:
    """Return ``dt``, ``customer_id`` and ``churned`` of every label of ``days``."""
    rows: pd.DataFrame = lake.table(LABELS_TABLE).read(days, ["dt", "customer_id", project.label.name]).to_pandas()
    return rows.rename(columns={project.label.name: "churned"})


def judge(joined: pd.DataFrame, days: list[dt.date], test_auc: float | None, project: Project) -> Performance:
    """Return how answers turned out.

    Args:
        joined: ``churn_probability``, ``prediction`` and ``churned``, one row per customer; not empty.
        days: The days whose labels were joined, sorted.
        test_auc: The model's AUC on its test, where it is known.
        project: How far the AUC may fall.
    """
    churned, probability = joined["churned"].to_numpy(dtype=float), joined["churn_probability"].to_numpy(dtype=float)
    observed, expected = float(churned.mean()), float(probability.mean())
    auc = auc_of(churned, probability)
    drop = test_auc - auc if test_auc is not None and auc is not None else None
    decayed = drop is not None and drop > project.monitoring.max_auc_drop
    return Performance(
        state="known",
        reason=_words(auc, test_auc, decayed, project.monitoring.max_auc_drop, observed, expected),
        decayed=decayed,
        first_day=str(days[0]),
        last_day=str(days[-1]),
        rows=len(joined),
        auc=auc,
        test_auc=test_auc,
        brier=float(brier_score_loss(churned, probability)),
        accuracy=float(np.mean((joined["prediction"].to_numpy() == "churn") == (churned == 1))),
        observed_churn=observed,
        expected_churn=expected,
        observed_over_expected=observed / expected if expected else None,
    )


def _test_auc(lake: Lake, project: Project, bundle: Bundle) -> float | None:
    """Return the model's AUC on the snapshots that follow its training after the gap, scored again.

    That is its test: what it learned from ends with ``trained_through``, and gold keeps the rows. None when gold has
    none of them.
    """
    contract = bundle.contract
    start = contract.trained_through + dt.timedelta(days=contract.horizon_days)
    present = set(lake.table(FEATURES_TABLE).days()) & set(lake.table(LABELS_TABLE).days())
    days = sorted(day for day in present if day > start and project.is_snapshot_day(day))
    days = days[: project.training.test_snapshots]
    if not days:
        return None
    columns = ["dt", "customer_id", *contract.feature_names]
    rows = lake.table(FEATURES_TABLE).read(days, columns).to_pandas()
    rows = rows.merge(labels_of(lake, project, days), on=["dt", "customer_id"])
    return auc_of(rows["churned"].to_numpy(dtype=float), bundle.predict(rows[contract.feature_names]))


def auc_of(churned: Any, probability: Any) -> float | None:
    """Return the area under the ROC curve; None when all customers, or none, churned."""
    if len(np.unique(churned)) < 2:
        return None
    auc = float(roc_auc_score(churned, probability))
    return None if math.isnan(auc) else auc


def _words(
    auc: float | None, test_auc: float | None, decayed: bool, allowed: float, observed: float, expected: float
) -> str:
    churn = f"{observed:.1%} churned where {expected:.1%} were expected"
    if auc is None:
        return f"No AUC, since the customers all did the same; {churn}."
    if test_auc is None:
        return f"Realised AUC {auc:.3f}, with no test to compare it with; {churn}."
    verb = "fell below" if decayed else "is within"
    return f"Realised AUC {auc:.3f} {verb} {allowed:g} of the test's {test_auc:.3f}; {churn}."
