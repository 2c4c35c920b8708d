"""Realised performance: scores compared with the labels that are known after the label's horizon."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import brier_score_loss, roc_auc_score

from include.days import DayRange
from include.features.known_churners import known_churners
from include.features.point_in_time import CUSTOMER_ID
from include.lake import Lake, connect
from include.lake.table_names import LABELS_TABLE, SCORES_TABLE
from include.monitoring.windows import latest_per_customer
from include.plurals import counted
from include.projects import Project
from include.training.model.contract import ModelContract


@dataclass(frozen=True)
class Performance:
    """The realised performance of scores; every metric is None until labels have matured.

    Attributes:
        state: ``known``; ``not yet known`` until a scored day has matured; ``not known`` for data without time.
        reason: The result in words.
        decayed: Whether the AUC is lower than on the test set by more than the project allows.
        first_day: The first scored day that is evaluated.
        last_day: The last scored day that is evaluated.
        rows: The number of customers, each with the latest score.
        auc: Area under the ROC curve; also None if all customers have the same label.
        test_auc: The deployed model's AUC on its test set.
        brier: Brier score.
        accuracy: Share of customers whose prediction equals the label.
        observed_churn: Share of customers who churned.
        expected_churn: The mean churn probability.
        observed_over_expected: ``observed_churn`` divided by ``expected_churn``. If the ratio is far from 1, the model
            is no longer calibrated.
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


def realised_performance(
    lake: Lake, project: Project, contract: ModelContract, version: str, day: dt.date
) -> Performance:
    """Evaluate the scores of the latest ``window_days`` that had matured when ``day`` ended, with their current labels.

    Args:
        lake: The lake with ``gold/scores`` and ``gold/labels``.
        project: The project's label and the allowed decrease of the AUC.
        contract: The contract of the deployed model, with the evaluation of its recipe.
        version: The version of the deployed model.
        day: The monitored day.
    """
    if not project.has_time:
        return Performance(
            "not known", "The data has no time: labels are delivered with the features, not after the score."
        )
    days = _matured(lake, project, day)
    if not days:
        return Performance(
            "not yet known",
            f"No scored day has matured by {day}; a label takes {counted(project.label.horizon_days, 'day')}.",
        )
    joined = _scores_with_labels(lake, project, days, version)
    if joined.empty:
        return Performance("not yet known", f"No score of model version {version} has matured by {day}.")
    return evaluate_predictions(joined, days, contract.evaluation.auc if contract.evaluation else None, project)


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
    # Scores of earlier models do not measure the deployed model.
    scores = scores[scores["model_version"] == version]
    joined = scores.merge(read_labels(lake, project, days), on=["dt", "customer_id"])
    return latest_per_customer(joined)


def read_labels(lake: Lake, project: Project, days: list[dt.date]) -> pd.DataFrame:
    """Return the columns ``dt``, ``customer_id`` and ``churned`` of the labels of some days.

    Customers who were known to have churned on the day are left out: they are not on the retention list, and with a
    label ``becomes``, they would be counted as customers who stay.

    Args:
        lake: The lake with ``gold/labels``.
        project: The project, which names the label.
        days: The days.
    """
    engine = connect()
    labels = lake.table(LABELS_TABLE).scan(engine, days).select("dt", CUSTOMER_ID, churned=project.label.name)
    known = known_churners(project, lake, engine, days) if days else None
    if known is not None:
        labels = labels.anti_join(known, ["dt", CUSTOMER_ID])
    rows: pd.DataFrame = labels.to_pyarrow().to_pandas()
    return rows


def evaluate_predictions(
    joined: pd.DataFrame, days: list[dt.date], test_auc: float | None, project: Project
) -> Performance:
    """Return the realised performance of predictions.

    Args:
        joined: ``churn_probability``, ``prediction`` and ``churned``, one row per customer; not empty.
        days: The days of the labels, sorted.
        test_auc: The model's AUC on its test set; None if it is not known.
        project: The project's allowed decrease of the AUC.
    """
    churned, probability = joined["churned"].to_numpy(dtype=float), joined["churn_probability"].to_numpy(dtype=float)
    observed, expected = float(churned.mean()), float(probability.mean())
    auc = roc_auc(churned, probability)
    drop = test_auc - auc if test_auc is not None and auc is not None else None
    decayed = drop is not None and drop > project.monitoring.max_auc_drop
    return Performance(
        state="known",
        reason=_summary(auc, test_auc, decayed, project.monitoring.max_auc_drop, observed, expected),
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


def roc_auc(churned: Any, probability: Any) -> float | None:
    """Return the area under the ROC curve; None if all customers have the same label.

    Args:
        churned: The labels, 0 or 1, shape (n,).
        probability: The churn probabilities, shape (n,).
    """
    if len(np.unique(churned)) < 2:
        return None
    auc = float(roc_auc_score(churned, probability))
    return None if math.isnan(auc) else auc


def _summary(
    auc: float | None, test_auc: float | None, decayed: bool, allowed: float, observed: float, expected: float
) -> str:
    churn = f"{observed:.1%} of the customers churned, {expected:.1%} were expected"
    if auc is None:
        return f"No AUC, since all customers have the same label; {churn}."
    if test_auc is None:
        return f"Realised AUC {auc:.3f}; the AUC on the test set is not known; {churn}."
    relation = "below" if decayed else "not below"
    return f"Realised AUC {auc:.3f} is {relation} the test set's {test_auc:.3f} by more than {allowed:g}; {churn}."
