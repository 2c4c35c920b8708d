"""Realised performance: scores compared with the labels that are known after the label's horizon."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from include.days import DayRange
from include.features.known_churners import known_churners
from include.features.point_in_time import CUSTOMER_ID
from include.lake import Lake, connect
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE, SCORES_TABLE
from include.monitoring.decay import Verdict, decay_verdict
from include.plurals import counted
from include.projects import Project
from include.serving.deployment.bento_store import local_bento
from include.serving.deployment.state import open_state
from include.settings import Settings
from include.training.evaluation.measure import measure
from include.training.evaluation.metrics import expected_calibration_error, reliability
from include.training.evaluation.segments import ENOUGH_CUSTOMERS, segment_masks
from include.training.model.bundle import BundleError
from include.training.model.contract import MetricValue, RecipeEvaluation

Evaluations = Callable[[str], RecipeEvaluation | None]
"""Returns the evaluation of the recipe of a model version; None if it is not known."""


@dataclass(frozen=True)
class ModelPerformance:
    """The realised performance of one model.

    Attributes:
        model_version: The version of the model.
        first_day: The first scored day that is evaluated.
        last_day: The last scored day that is evaluated.
        customers: The number of customers, each with the latest score.
        churners: The number of those who churned.
        expected_churn: The mean churn probability.
        calibration_error: The expected calibration error; it has no interval, since resampling biases it upwards.
        metrics: The metrics of ``measure`` with their 95 % intervals.
        promised: The same metrics on the test of the model's recipe; empty if they are not known.
        verdict: Whether the model has decayed; see ``decay_verdict``.
        reason: The verdict in words.
    """

    model_version: str
    first_day: str
    last_day: str
    customers: int
    churners: int
    expected_churn: float
    calibration_error: float
    metrics: dict[str, MetricValue]
    promised: dict[str, MetricValue]
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class SegmentPerformance:
    """The realised performance of a model in a segment of its customers.

    Attributes:
        feature: The feature that cuts the customers into segments.
        value: The common value or range, as text.
        customers: The number of customers.
        churners: The number of those who churned.
        metrics: The metrics of ``measure`` with their 95 % intervals.
    """

    feature: str
    value: str
    customers: int
    churners: int
    metrics: dict[str, MetricValue]


@dataclass(frozen=True)
class Performance:
    """The realised performance of scores.

    Attributes:
        state: ``known``; ``not yet known`` until a scored day has matured; ``not known`` for data without time.
        reason: The result in words.
        decayed: Whether the model with the latest matured scores has decayed.
        models: The models with matured scores in the window, the latest scores first.
        segments: The performance of the first of ``models`` in the segments of ``training.segments``.
    """

    state: str
    reason: str
    decayed: bool = False
    models: tuple[ModelPerformance, ...] = ()
    segments: tuple[SegmentPerformance, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the performance as plain JSON types."""
        plain = asdict(self)
        return plain | {"models": list(plain["models"]), "segments": list(plain["segments"])}


def deployed_evaluations(settings: Settings) -> Evaluations:
    """Return the evaluations of all model versions that were deployed and whose Bento has not been deleted.

    Args:
        settings: The folder of the serving state.
    """
    state = open_state(settings)

    @cache
    def evaluation(version: str) -> RecipeEvaluation | None:
        revision = state.newest_of(version)
        bento = local_bento(revision.bento, settings) if revision else None
        try:
            return bento.load_bundle().contract.evaluation if bento else None
        except BundleError:  # deleted, or of another version of the code
            return None

    return evaluation


def realised_performance(lake: Lake, project: Project, evaluations: Evaluations, day: dt.date) -> Performance:
    """Evaluate the scores of the latest ``window_days`` that had matured when ``day`` ended, with their current labels.

    Each model that made these scores is evaluated separately. If the interval of the trainings is shorter than the
    horizon of the label, none of them is the deployed model.

    Args:
        lake: The lake with ``gold/scores``, ``gold/labels`` and ``gold/features``.
        project: The project's label, costs, segments and rules of monitoring.
        evaluations: The evaluations of the models' recipes.
        day: The monitored day.
    """
    if not project.has_time:
        return Performance(
            "not known", "The data has no time: labels are delivered with the features, not after the score."
        )
    days = matured_days(lake, project, day)
    if not days:
        return Performance(
            "not yet known",
            f"No scored day has matured by {day}; a label matures after {counted(project.label.horizon_days, 'day')}.",
        )
    span = DayRange.ending(days[-1], project.monitoring.window_days)
    rows = read_labelled_scores(lake, project, [scored for scored in days if scored in span])
    if rows.empty:
        return Performance("not yet known", f"No customer who was scored from {span.first} to {span.last} has a label.")
    last = rows.groupby("model_version")["dt"].max().sort_values(kind="stable", ascending=False)
    latest = rows.sort_values(["customer_id", "dt"]).drop_duplicates(["model_version", "customer_id"], keep="last")
    by_model = {version: latest[latest["model_version"] == version] for version in last.index}
    models = tuple(
        evaluate_model(version, scored, evaluations(version), project) for version, scored in by_model.items()
    )
    return Performance(
        state="known",
        reason=f"Model version {models[0].model_version}: {models[0].reason}",
        decayed=models[0].verdict == "decayed",
        models=models,
        segments=_segments(lake, project, by_model[models[0].model_version]),
    )


def matured_days(lake: Lake, project: Project, day: dt.date) -> list[dt.date]:
    """Return the scored days whose labels were known when ``day`` ended, sorted.

    Args:
        lake: The lake with ``gold/scores`` and ``gold/labels``.
        project: The project's label.
        day: The monitored day.
    """
    horizon = dt.timedelta(days=project.label.horizon_days)
    labelled = set(lake.table(LABELS_TABLE).days())
    return [scored for scored in lake.table(SCORES_TABLE).days() if scored + horizon <= day and scored in labelled]


def read_labelled_scores(lake: Lake, project: Project, days: Sequence[dt.date]) -> pd.DataFrame:
    """Return the columns ``dt``, ``customer_id``, ``churn_probability``, ``prediction``, ``model_version`` and
    ``churned`` of the scores of some days.

    Args:
        lake: The lake with ``gold/scores`` and ``gold/labels``.
        project: The project, which names the label.
        days: The days.
    """
    columns = ["dt", "customer_id", "churn_probability", "prediction", "model_version"]
    scores = lake.table(SCORES_TABLE).read(days, columns).to_pandas()
    rows: pd.DataFrame = scores.merge(read_labels(lake, project, days), on=["dt", "customer_id"])
    return rows


def read_labels(lake: Lake, project: Project, days: Sequence[dt.date]) -> pd.DataFrame:
    """Return the columns ``dt``, ``customer_id`` and ``churned`` of the labels of some days.

    Customers who were known to have churned on the day are left out: they are not on the retention list, and with a
    label of kind ``becomes``, they would be counted as customers who stay.

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


def score_columns(rows: pd.DataFrame) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the churn probabilities of n scores, and which of the customers get an offer, each of shape (n,)."""
    return rows["churn_probability"].to_numpy(dtype=float), rows["prediction"].to_numpy() == "churn"


def evaluate_model(
    version: str, rows: pd.DataFrame, evaluation: RecipeEvaluation | None, project: Project
) -> ModelPerformance:
    """Return the realised performance of one model's predictions, and whether the model has decayed.

    Args:
        version: The version of the model.
        rows: ``dt``, ``customer_id``, ``churn_probability``, ``prediction`` and ``churned``, one row per customer; not
            empty.
        evaluation: The evaluation of the model's recipe; None if it is not known.
        project: The project's costs, resamples and number of churners for a verdict.
    """
    churned, (probability, offered) = rows["churned"].to_numpy(dtype=np.int8), score_columns(rows)
    metrics = measure(project, rows["customer_id"].to_numpy(), churned, probability, offered)
    promised = evaluation.metrics if evaluation else {}
    churners = int(churned.sum())
    verdict, reason = decay_verdict(metrics, promised, churners, len(rows), project.monitoring.min_churners)
    return ModelPerformance(
        model_version=version,
        first_day=str(rows["dt"].min()),
        last_day=str(rows["dt"].max()),
        customers=len(rows),
        churners=churners,
        expected_churn=float(probability.mean()),
        calibration_error=expected_calibration_error(reliability(churned, probability)),
        metrics=metrics,
        promised=promised,
        verdict=verdict,
        reason=reason,
    )


def roc_auc(churned: Any, probability: Any) -> float | None:
    """Return the area under the ROC curve; None if all customers have the same label.

    Args:
        churned: The labels, 0 or 1, shape (n,).
        probability: The churn probabilities, shape (n,).
    """
    return float(roc_auc_score(churned, probability)) if len(np.unique(churned)) > 1 else None


def _segments(lake: Lake, project: Project, rows: pd.DataFrame) -> tuple[SegmentPerformance, ...]:
    """Return the performance in each segment that has enough customers and both labels."""
    specs = {spec.name: spec for spec in project.features}
    table = lake.table(FEATURES_TABLE)
    in_gold = table.schema().names  # gold lacks a new feature until the next ingest
    names = [name for name in project.training.segments if name in in_gold]
    if not names:
        return ()
    features = table.read(sorted(set(rows["dt"])), ["dt", "customer_id", *names]).to_pandas()
    joined = rows.merge(features, on=["dt", "customer_id"])
    churned, (probability, offered) = joined["churned"].to_numpy(dtype=np.int8), score_columns(joined)
    customers = joined["customer_id"].to_numpy()
    return tuple(
        SegmentPerformance(
            feature=name,
            value=value,
            customers=int(mask.sum()),
            churners=int(churned[mask].sum()),
            metrics=measure(project, customers[mask], churned[mask], probability[mask], offered[mask]),
        )
        for name in names
        for value, mask in segment_masks(specs[name], pa.chunked_array([pa.array(joined[name], from_pandas=True)]))
        if mask.sum() >= ENOUGH_CUSTOMERS
    )
