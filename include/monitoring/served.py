"""The endpoint's logged predictions: traffic, drift of the requested customers, realised performance, and shadows.

Clients choose the customers that they request. The results describe these customers only. They are therefore reported,
but cause no message and no training request.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa

from include.days import DayRange
from include.lake import Lake, connect
from include.lake.table_names import LABELS_TABLE, PREDICTIONS_TABLE
from include.monitoring.drift import detect_drift
from include.monitoring.performance import Performance, evaluate_model, read_labels, roc_auc
from include.plurals import counted
from include.projects import Project
from include.training.model.reference_profile import SCORE, ReferenceProfile

MAX_CUSTOMERS = 20_000
"""The largest number of customers whose features are compared with the reference; more are sampled by a hash."""
_MIN_CUSTOMERS = 100


@dataclass(frozen=True)
class ModelTraffic:
    """The predictions of one model on one day.

    Attributes:
        model_version: The version of the model.
        answers: The number of predictions.
        by_id: The number of predictions for requests with an id only, with features from the online store.
        with_features: The number of predictions for requests with features.
        churn_share: The share of predictions that are ``churn``.
        mean_probability: The mean churn probability.
    """

    model_version: str
    answers: int
    by_id: int
    with_features: int
    churn_share: float
    mean_probability: float


@dataclass(frozen=True)
class ServedDrift:
    """The drift of the requested customers' features and scores against the reference profile.

    Attributes:
        reason: The result in words.
        customers: The number of customers compared.
        drifted: The drifted features that count, the most severe first; None if nothing was compared.
    """

    reason: str
    customers: int = 0
    drifted: tuple[str, ...] | None = None


@dataclass(frozen=True)
class ShadowComparison:
    """A shadow compared with the model that answered, on the predictions of one day.

    Attributes:
        model_version: The version of the model that answered.
        shadow_version: The version of the shadow.
        rows: The number of predictions that both models scored.
        mean_absolute_difference: The mean absolute difference of the two probabilities.
        correlation: The correlation of the two probabilities; None if one of them is constant.
        decisions_that_differ: The number of predictions on which the decisions differ.
        labelled_rows: The number of customers with a known label whose earlier request both models scored.
        auc: The AUC of the model that answered on those customers; None if it is not defined.
        shadow_auc: The AUC of the shadow on the same customers.
    """

    model_version: str
    shadow_version: str
    rows: int
    mean_absolute_difference: float
    correlation: float | None
    decisions_that_differ: int
    labelled_rows: int = 0
    auc: float | None = None
    shadow_auc: float | None = None


@dataclass(frozen=True)
class Served:
    """The monitoring result of the endpoint's predictions on one day.

    Attributes:
        reason: A summary in words.
        models: The day's predictions by model, most predictions first; empty on a day without predictions.
        drift: The drift of the requested customers' features.
        performance: The realised performance of the deployed model, with each customer's latest prediction.
        shadows: The shadows that scored the same rows.
    """

    reason: str
    models: tuple[ModelTraffic, ...]
    drift: ServedDrift
    performance: Performance
    shadows: tuple[ShadowComparison, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types."""
        plain = asdict(self)
        drifted = None if self.drift.drifted is None else list(self.drift.drifted)
        return plain | {
            "models": list(plain["models"]),
            "shadows": list(plain["shadows"]),
            "drift": plain["drift"] | {"drifted": drifted},
            "performance": self.performance.as_dict(),
        }


def monitor_served(
    lake: Lake,
    project: Project,
    version: str,
    day: dt.date,
    profile: ReferenceProfile,
) -> Served:
    """Return the monitoring result of the predictions of the UTC day ``day`` and of earlier, labelled predictions.

    Args:
        lake: The lake with ``gold/predictions`` and ``gold/labels``.
        project: The project's rules, label and windows.
        version: The version of the deployed model.
        day: The monitored day.
        profile: The reference profile of the deployed model.
    """
    models = _traffic(lake, day) if day in lake.table(PREDICTIONS_TABLE).days() else ()
    labelled = _labelled_predictions(lake, project, version, day)
    return Served(
        reason=_summary(models, day),
        models=models,
        drift=_drift(lake, project, version, day, profile)
        if any(model.model_version == version for model in models)
        else ServedDrift(f"The deployed model made no predictions on {day}."),
        performance=_performance(project, labelled, version, day),
        shadows=_compare_shadows(lake, day, version, labelled) if models else (),
    )


def _traffic(lake: Lake, day: dt.date) -> tuple[ModelTraffic, ...]:
    predictions = lake.table(PREDICTIONS_TABLE).scan(connect(), [day])
    found = (
        predictions.group_by("model_version")
        .aggregate(
            answers=predictions.count(),
            by_id=predictions.features_day.count(),
            churn_share=(predictions.prediction == "churn").cast("float64").mean(),
            mean_probability=predictions.churn_probability.cast("float64").mean(),
        )
        .order_by(ibis.desc("answers"), "model_version")
        .to_pyarrow()
        .to_pylist()
    )
    return tuple(ModelTraffic(**row, with_features=row["answers"] - row["by_id"]) for row in found)


def _summary(models: Sequence[ModelTraffic], day: dt.date) -> str:
    if not models:
        return f"The prediction log contains no predictions of {day}."
    answers, by_id = sum(model.answers for model in models), sum(model.by_id for model in models)
    return f"{answers:,} predictions on {day}: {by_id:,} by id, {answers - by_id:,} with features."


def _drift(lake: Lake, project: Project, version: str, day: dt.date, profile: ReferenceProfile) -> ServedDrift:
    current = _served_rows(lake, version, day, profile)
    if current.num_rows < _MIN_CUSTOMERS:
        customers = counted(current.num_rows, "customer")
        return ServedDrift(f"{customers} with known features; a comparison needs {_MIN_CUSTOMERS} customers.")
    found = detect_drift(profile, current, project.monitoring.drift).drifted_features
    reason = f"{counted(len(found), 'feature')} of {len(profile.features)} drifted."
    return ServedDrift(reason, current.num_rows, tuple(feature.name for feature in found))


def _served_rows(lake: Lake, version: str, day: dt.date, profile: ReferenceProfile) -> pa.Table:
    """Return the features and the score of each customer's latest prediction; no rows if features are not logged."""
    predictions = lake.table(PREDICTIONS_TABLE).scan(connect(), [day])
    columns = {name: f"{item.kind}_{name}" for name, item in profile.features.items() if name != SCORE}
    if not set(columns.values()) <= set(predictions.columns):
        return pa.table({name: [] for name in profile.features})
    predictions = predictions.filter(predictions.model_version == version)
    predictions = predictions.filter(ibis.or_(*(predictions[column].notnull() for column in columns.values())))
    age = ibis.row_number().over(group_by="customer_id", order_by=[ibis.desc("answered_at"), "part"])
    latest = predictions.mutate(age=age).filter(ibis._.age == 0)
    sample = latest.order_by(latest.customer_id.hash(), "customer_id").limit(MAX_CUSTOMERS)
    return sample.select(SCORE, **columns).to_pyarrow()


def _labelled_predictions(lake: Lake, project: Project, version: str, day: dt.date) -> pd.DataFrame | None:
    """Return each customer's latest prediction whose label was known when ``day`` ended; None if there is none.

    A prediction refers to the day of its features: the day in the online store, else the day of the request.
    """
    if not project.has_time or not lake.table(PREDICTIONS_TABLE).exists():
        return None
    matured = day - dt.timedelta(days=project.label.horizon_days)
    labelled = [known for known in lake.table(LABELS_TABLE).days() if known <= matured]
    if not labelled:
        return None
    window = project.monitoring.window_days
    span = DayRange.ending(labelled[-1], window)
    # A store that is not updated every day returns features that are some days old.
    requested = DayRange(span.first, span.last + dt.timedelta(days=window))
    rows = _predictions_for(lake, version, requested, span)
    joined = rows.merge(read_labels(lake, project, [one for one in labelled if one in span]), on=["dt", "customer_id"])
    latest = joined.sort_values(["customer_id", "answered_at"]).drop_duplicates("customer_id", keep="last")
    return None if latest.empty else latest.reset_index(drop=True)


def _predictions_for(lake: Lake, version: str, requested: DayRange, days: DayRange) -> pd.DataFrame:
    """Return one model's predictions with ``dt``, the day to which each refers; see ``_labelled_predictions``."""
    predictions = lake.table(PREDICTIONS_TABLE).scan(connect(), requested)
    predictions = predictions.filter(predictions.model_version == version)
    predictions = predictions.mutate(dt=ibis.coalesce(predictions.features_day, predictions.dt))
    predictions = predictions.filter(predictions.dt.between(days.first, days.last))
    shadow = ["shadow_version", "shadow_probability"]
    columns = ["dt", "customer_id", "answered_at", "churn_probability", "prediction", *shadow]
    rows: pd.DataFrame = predictions.select(columns).to_pyarrow().to_pandas()
    return rows


def _performance(project: Project, labelled: pd.DataFrame | None, version: str, day: dt.date) -> Performance:
    if not project.has_time:
        return Performance("not known", "The data has no time: no label arrives after a prediction.")
    if labelled is None:
        return Performance("not yet known", f"No prediction of model version {version} has matured by {day}.")
    # Clients choose these customers, who may differ from those of the test. Therefore there is no verdict.
    model = evaluate_model(version, labelled, None, project)
    return Performance("known", f"{counted(model.customers, 'customer')} with known labels.", models=(model,))


def _compare_shadows(
    lake: Lake, day: dt.date, version: str, labelled: pd.DataFrame | None
) -> tuple[ShadowComparison, ...]:
    """Return a comparison for each pair of model and shadow that scored predictions of ``day``, most rows first."""
    predictions = lake.table(PREDICTIONS_TABLE).scan(connect(), [day]).filter(ibis._.shadow_probability.notnull())
    pairs = (
        predictions.mutate(
            champion=predictions.churn_probability.cast("float64"),
            shadow=predictions.shadow_probability.cast("float64"),
        )
        .group_by(["model_version", "shadow_version"])
        .aggregate(
            rows=ibis._.count(),
            mean_absolute_difference=(ibis._.champion - ibis._.shadow).abs().mean(),
            correlation=ibis._.champion.corr(ibis._.shadow, how="pop"),
            decisions_that_differ=(ibis._.prediction != ibis._.shadow_prediction).sum(),
        )
        .order_by(ibis.desc("rows"), "model_version", "shadow_version")
        .to_pandas()
    )
    return tuple(
        ShadowComparison(
            model_version=pair.model_version,
            shadow_version=pair.shadow_version,
            rows=int(pair.rows),
            mean_absolute_difference=float(pair.mean_absolute_difference),
            correlation=None if pd.isna(pair.correlation) else float(pair.correlation),
            decisions_that_differ=int(pair.decisions_that_differ),
            **_shadow_auc(None if pair.model_version != version else labelled, pair.shadow_version),
        )
        for pair in pairs.itertuples()
    )


def _shadow_auc(labelled: pd.DataFrame | None, shadow_version: str) -> dict[str, Any]:
    if labelled is None:
        return {}
    both = labelled[(labelled["shadow_version"] == shadow_version) & labelled["shadow_probability"].notna()]
    churned = both["churned"].to_numpy(dtype=float)
    return {
        "labelled_rows": len(both),
        "auc": roc_auc(churned, both["churn_probability"].to_numpy(dtype=float)),
        "shadow_auc": roc_auc(churned, both["shadow_probability"].to_numpy(dtype=float)),
    }
