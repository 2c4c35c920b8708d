"""What the endpoint answered: how much, by which model, about whom, and how it turned out.

Whoever asks an endpoint chooses about whom. These figures are about those customers, not about all: they are reported,
and neither alert nor ask for a training.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ibis
import numpy as np
import pandas as pd

from include.days import DayRange
from include.lake import Lake, connect
from include.lake.table_names import LABELS_TABLE, PREDICTIONS_TABLE
from include.monitoring.drift import compare
from include.monitoring.performance import Performance, judge, labels_of
from include.monitoring.shadow import ShadowComparison, compare_shadows
from include.projects import Project
from include.projects.features import FeatureSpec

MOST_CUSTOMERS_COMPARED = 20_000
"""Customers whose served features are compared with the reference: a sample by their id where there are more."""
_FEWEST_CUSTOMERS_COMPARED = 100


@dataclass(frozen=True)
class ModelTraffic:
    """What one model answered on one day.

    Attributes:
        model_version: The model.
        answers: How many.
        by_id: Those for which the caller sent an id, and the online store had the features.
        with_features: Those for which the caller sent the features.
        churn_share: Share of ``churn``.
        mean_probability: The mean of the probabilities.
    """

    model_version: str
    answers: int
    by_id: int
    with_features: int
    churn_share: float
    mean_probability: float


@dataclass(frozen=True)
class ServedDrift:
    """The features of the day's customers against those that the model learned from.

    Attributes:
        reason: The finding in words.
        customers: Customers compared.
        drifted: The features that drifted, most severe first; None when nothing was compared.
    """

    reason: str
    customers: int = 0
    drifted: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Served:
    """What one day's monitoring found about the endpoint's answers.

    Attributes:
        reason: The day in words.
        models: The day's answers by model, the most first; none on a day without.
        drift: What those asked about look like.
        performance: How answers of the deployed model turned out, each customer by the latest; see
            ``served_performance``.
        shadows: Models that scored the same rows aside.
    """

    reason: str
    models: tuple[ModelTraffic, ...]
    drift: ServedDrift
    performance: Performance
    shadows: tuple[ShadowComparison, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON types."""
        plain = asdict(self)
        drifted = None if self.drift.drifted is None else list(self.drift.drifted)
        return plain | {
            "models": list(plain["models"]),
            "shadows": list(plain["shadows"]),
            "drift": plain["drift"] | {"drifted": drifted},
        }


def served_on(
    lake: Lake,
    project: Project,
    version: str,
    day: dt.date,
    reference: pd.DataFrame,
    features: Sequence[FeatureSpec],
    test_auc: float | None,
) -> Served:
    """Return what was answered on the UTC day ``day``, and how earlier answers turned out.

    Args:
        lake: Holds ``gold/predictions`` and ``gold/labels``.
        project: Its rules, label and windows.
        version: The version of the deployed model.
        day: The day monitored.
        reference: The reference window's rows, one per customer.
        features: The features that are monitored.
        test_auc: The deployed model's AUC on its test, where it is known.
    """
    models = _traffic(lake, day) if day in lake.table(PREDICTIONS_TABLE).days() else ()
    judged = _answers_with_labels(lake, project, version, day)
    return Served(
        reason=_words(models, day),
        models=models,
        drift=_drift(lake, project, version, day, reference, features)
        if any(model.model_version == version for model in models)
        else ServedDrift(f"The deployed model answered nothing on {day}."),
        performance=_performance(project, judged, test_auc, version, day),
        shadows=compare_shadows(lake, day, version, judged) if models else (),
    )


def _traffic(lake: Lake, day: dt.date) -> tuple[ModelTraffic, ...]:
    answers = lake.table(PREDICTIONS_TABLE).scan(connect(), [day])
    found = (
        answers.group_by("model_version")
        .aggregate(
            answers=answers.count(),
            by_id=answers.features_day.count(),
            churn_share=(answers.prediction == "churn").cast("float64").mean(),
            mean_probability=answers.churn_probability.cast("float64").mean(),
        )
        .order_by(ibis.desc("answers"), "model_version")
        .to_pyarrow()
        .to_pylist()
    )
    return tuple(ModelTraffic(**row, with_features=row["answers"] - row["by_id"]) for row in found)


def _words(models: Sequence[ModelTraffic], day: dt.date) -> str:
    if not models:
        return f"The prediction log holds no answers given on {day}."
    answers, by_id = sum(model.answers for model in models), sum(model.by_id for model in models)
    return f"{answers:,} answers on {day}: {by_id:,} by id, {answers - by_id:,} with features."


def _drift(
    lake: Lake,
    project: Project,
    version: str,
    day: dt.date,
    reference: pd.DataFrame,
    features: Sequence[FeatureSpec],
) -> ServedDrift:
    current = _served_features(lake, version, day, features)
    if len(current) < _FEWEST_CUSTOMERS_COMPARED:
        return ServedDrift(
            f"Features of {len(current)} customers are known; {_FEWEST_CUSTOMERS_COMPARED} are needed to compare."
        )
    # The endpoint computes with 32 bits: .1 would otherwise not be the .1 of the reference.
    numbers = [spec.name for spec in features if spec.dtype == "number" and spec.name in reference]
    as_served = reference.assign(**reference[numbers].astype(np.float32))
    verdict = compare(as_served, current, features, project.monitoring)
    return ServedDrift(verdict.reason, len(current), tuple(feature.name for feature in verdict.drifted_features))


def _served_features(lake: Lake, version: str, day: dt.date, features: Sequence[FeatureSpec]) -> pd.DataFrame:
    """Return the features of the latest answer about each customer; no row where features are not logged."""
    answers = lake.table(PREDICTIONS_TABLE).scan(connect(), [day])
    columns = {spec.name: f"{spec.dtype}_{spec.name}" for spec in features}
    if not set(columns.values()) <= set(answers.columns):
        return pd.DataFrame(columns=list(columns))
    answers = answers.filter(answers.model_version == version)
    answers = answers.filter(ibis.or_(*(answers[column].notnull() for column in columns.values())))
    age = ibis.row_number().over(group_by="customer_id", order_by=[ibis.desc("answered_at"), "part"])
    latest = answers.mutate(age=age).filter(ibis._.age == 0)
    sample = latest.order_by(latest.customer_id.hash(), "customer_id").limit(MOST_CUSTOMERS_COMPARED)
    rows: pd.DataFrame = sample.select(**columns).to_pyarrow().to_pandas()
    return rows


def _answers_with_labels(lake: Lake, project: Project, version: str, day: dt.date) -> pd.DataFrame | None:
    """Return the latest answer about each customer whose label was known when ``day`` closed; None without any.

    An answer is about the day of its features: the online store's where it had them, else the day that it was given.
    """
    if not project.has_time or not lake.table(PREDICTIONS_TABLE).exists():
        return None
    matured = day - dt.timedelta(days=project.label.horizon_days)
    labelled = [known for known in lake.table(LABELS_TABLE).days() if known <= matured]
    if not labelled:
        return None
    window = project.monitoring.window_days
    span = DayRange.ending(labelled[-1], window)
    # A store that is not filled every day answers with features some days old.
    given = DayRange(span.first, span.last + dt.timedelta(days=window))
    rows = _answers_about(lake, version, given, span)
    joined = rows.merge(labels_of(lake, project, [one for one in labelled if one in span]), on=["dt", "customer_id"])
    latest = joined.sort_values(["customer_id", "answered_at"]).drop_duplicates("customer_id", keep="last")
    return None if latest.empty else latest.reset_index(drop=True)


def _answers_about(lake: Lake, version: str, given: DayRange, about: DayRange) -> pd.DataFrame:
    """Return one model's answers given on some days about others, with ``dt`` the day that each is about."""
    answers = lake.table(PREDICTIONS_TABLE).scan(connect(), given)
    answers = answers.filter(answers.model_version == version)
    answers = answers.mutate(dt=ibis.coalesce(answers.features_day, answers.dt))
    answers = answers.filter(answers.dt.between(about.first, about.last))
    shadow = ["shadow_version", "shadow_probability"]
    columns = ["dt", "customer_id", "answered_at", "churn_probability", "prediction", *shadow]
    rows: pd.DataFrame = answers.select(columns).to_pyarrow().to_pandas()
    return rows


def _performance(
    project: Project, judged: pd.DataFrame | None, test_auc: float | None, version: str, day: dt.date
) -> Performance:
    if not project.has_time:
        return Performance(
            "not known", "This data has no time: a label comes with its row, and none follows an answer."
        )
    if judged is None:
        return Performance("not yet known", f"No answer of model version {version} has matured by {day}.")
    return judge(judged, sorted(set(judged["dt"])), test_auc, project)
