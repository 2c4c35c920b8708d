"""The newest monitoring result as Prometheus metrics. The endpoint exports its own metrics of requests."""

from __future__ import annotations

import datetime as dt
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

from include.monitoring.health import ModelHealth, model_health
from include.settings import Settings

_REALISED = {
    "accuracy": ("accuracy", "accuracy at the model's threshold"),
    "auc": ("auc", "area under the ROC curve"),
    "average_precision": ("average_precision", "average precision"),
    "brier": ("brier_score", "Brier score"),
    "observed_over_expected": ("observed_over_expected", "ratio of observed and expected churn"),
    "precision": ("precision", "precision at the model's threshold"),
    "recall": ("recall", "recall at the model's threshold"),
    "saving_usd_per_1000": ("saving_usd_per_1000", "saving in US dollars per 1,000 customers"),
}
_ESTIMATED = _REALISED | {"observed_churn": ("churn", "share of customers who churn")}

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render_metrics(settings: Settings) -> str:
    """Return the metrics in Prometheus' text format. A metric with an unknown value is left out; it is not set to zero.

    Raises:
        ServingStateError: The serving state cannot be read.
        ResultError: The newest monitoring result is damaged.
    """
    health, registry = model_health(settings), CollectorRegistry()
    _model(health, registry)
    _drift(health, registry)
    _performance(health, registry)
    _served(health, registry)
    return generate_latest(registry).decode()


def _model(health: ModelHealth, registry: CollectorRegistry) -> None:
    if health.model_version is not None:
        info = Gauge("ml_model_info", "The deployed model.", ["project", "model_version"], registry=registry)
        info.labels(health.project, health.model_version).set(1)
    if health.monitored_day is not None:
        closed = dt.datetime.combine(health.monitored_day + dt.timedelta(days=1), dt.time(), dt.UTC)
        _set(
            "ml_monitored_day_timestamp_seconds",
            "Time at which the newest monitored day ended.",
            closed.timestamp(),
            health,
            registry,
        )


def _drift(health: ModelHealth, registry: CollectorRegistry) -> None:
    if health.drift is None:
        return
    drift = health.drift
    _set(
        "ml_drift_detected", "1 if the newest monitored day drifted, else 0.", float(drift["drifted"]), health, registry
    )
    _set("ml_drifted_features", "Number of features that drifted.", drift["drifted_features"], health, registry)


def _performance(health: ModelHealth, registry: CollectorRegistry) -> None:
    performance = health.performance or {}
    for model in performance.get("models", [])[:1]:
        for key, (name, text) in _REALISED.items():
            _with_interval(
                f"ml_model_{name}", f"Realised {text} on matured labels", model["metrics"].get(key), health, registry
            )
            _with_interval(
                f"ml_model_test_{name}",
                f"{text} on the test of the recipe",
                model["promised"].get(key),
                health,
                registry,
            )
        _set(
            "ml_model_churners",
            "Number of churners among the customers with matured labels.",
            model["churners"],
            health,
            registry,
        )
        decayed = float(performance["decayed"])
        _set("ml_model_decayed", "1 if the realised performance has decayed, else 0.", decayed, health, registry)
    _segments(performance.get("segments", []), health, registry)
    for key, value in ((health.expected or {}).get("metrics") or {}).items():
        name, text = _ESTIMATED[key]
        help_text = f"Expected {text}, estimated before labels are known; it does not show a changed concept"
        _with_interval(f"ml_model_expected_{name}", help_text, value, health, registry)


def _segments(segments: list[dict[str, Any]], health: ModelHealth, registry: CollectorRegistry) -> None:
    known = [segment for segment in segments if "auc" in segment["metrics"]]
    if not known:
        return
    gauge = Gauge(
        "ml_segment_auc",
        "Realised area under the ROC curve by segment.",
        ["project", "feature", "segment"],
        registry=registry,
    )
    for segment in known:
        labels = (health.project, segment["feature"], segment["value"])
        gauge.labels(*labels).set(segment["metrics"]["auc"]["value"])


def _with_interval(
    name: str, text: str, value: dict[str, float] | None, health: ModelHealth, registry: CollectorRegistry
) -> None:
    if value is None:
        return
    _set(name, f"{text}.", value["value"], health, registry)
    for bound, described in (("low", "Lower"), ("high", "Upper")):
        _set(f"{name}_{bound}", f"{described} bound of the 95 % interval of {name}.", value[bound], health, registry)


def _served(health: ModelHealth, registry: CollectorRegistry) -> None:
    served = health.served or {}
    figures = {
        "answers": ("ml_served_answers", "Predictions of the endpoint on the newest monitored day."),
        "churn_share": ("ml_served_churn_share", "Share of those predictions that are churn."),
        "mean_probability": ("ml_served_mean_probability", "Mean churn probability of those predictions."),
    }
    _by_version(figures, ["model_version"], served.get("models", []), health, registry)
    figures = {
        "rows": ("ml_shadow_rows", "Predictions that a shadow scored too."),
        "mean_absolute_difference": (
            "ml_shadow_mean_absolute_difference",
            "Mean absolute difference of probabilities.",
        ),
        "decisions_that_differ": (
            "ml_shadow_decisions_that_differ",
            "Predictions with different decisions.",
        ),
    }
    _by_version(figures, ["model_version", "shadow_version"], served.get("shadows", []), health, registry)
    for model in served.get("performance", {}).get("models", []):
        auc = model["metrics"].get("auc")
        _with_interval(
            "ml_served_auc", "Realised area under the ROC curve of served predictions", auc, health, registry
        )


def _by_version(
    figures: dict[str, tuple[str, str]],
    versions: list[str],
    rows: list[dict[str, Any]],
    health: ModelHealth,
    registry: CollectorRegistry,
) -> None:
    for key, (name, text) in figures.items():
        if rows:
            gauge = Gauge(name, text, ["project", *versions], registry=registry)
        for row in rows:
            gauge.labels(health.project, *(row[version] for version in versions)).set(row[key])


def _set(name: str, text: str, value: float, health: ModelHealth, registry: CollectorRegistry) -> None:
    Gauge(name, text, ["project"], registry=registry).labels(health.project).set(value)
