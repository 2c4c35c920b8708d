"""The newest monitoring result as Prometheus metrics. The endpoint exports its own metrics of requests."""

from __future__ import annotations

from typing import Any

from include.monitoring.exposition import Exposition
from include.monitoring.health import ServedModel

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


def add_model_metrics(model: ServedModel | None, result: dict[str, Any] | None, out: Exposition) -> None:
    """Add the metrics of the deployed model.

    Args:
        model: The deployed model; None before the first deployment.
        result: The newest monitoring result; None before the first.
        out: The exposition to which they are added.
    """
    if model is not None:
        out.set("ml_model_info", "The deployed model.", 1, model_version=model.version)
    if result is not None:
        _drift(result["drift"], out)
        _performance(result, out)
        _served(result.get("served") or {}, out)


def _drift(drift: dict[str, Any], out: Exposition) -> None:
    out.set("ml_drift_detected", "1 if the newest monitored day drifted, else 0.", float(drift["drifted"]))
    out.set("ml_drifted_features", "Number of features that drifted.", drift["drifted_features"])
    out.set("ml_drift_severity", "Largest severity of the features that count.", drift.get("severity"))


def _performance(result: dict[str, Any], out: Exposition) -> None:
    performance = result["performance"]
    for model in performance.get("models", [])[:1]:
        for key, (name, text) in _REALISED.items():
            _with_interval(f"ml_model_{name}", f"Realised {text} on matured labels", model["metrics"].get(key), out)
            _with_interval(
                f"ml_model_test_{name}", f"{text} on the test of the recipe", model["promised"].get(key), out
            )
        text = "Number of churners among the customers with matured labels."
        out.set("ml_model_churners", text, model["churners"])
        text = "1 if the realised performance has decayed, else 0."
        out.set("ml_model_decayed", text, float(performance["decayed"]))
    for segment in performance.get("segments", []):
        if "auc" in segment["metrics"]:
            out.set(
                "ml_segment_auc",
                "Realised area under the ROC curve by segment.",
                segment["metrics"]["auc"]["value"],
                feature=segment["feature"],
                segment=segment["value"],
            )
    for key, value in ((result.get("expected") or {}).get("metrics") or {}).items():
        name, text = _ESTIMATED[key]
        help_text = f"Expected {text}, estimated before labels are known; it does not show a changed concept"
        _with_interval(f"ml_model_expected_{name}", help_text, value, out)


def _with_interval(name: str, text: str, value: dict[str, float] | None, out: Exposition) -> None:
    if value is None:
        return
    out.set(name, f"{text}.", value["value"])
    for bound, described in (("low", "Lower"), ("high", "Upper")):
        out.set(f"{name}_{bound}", f"{described} bound of the 95 % interval of {name}.", value[bound])


def _served(served: dict[str, Any], out: Exposition) -> None:
    figures = {
        "answers": ("ml_served_answers", "Predictions of the endpoint on the newest monitored day."),
        "churn_share": ("ml_served_churn_share", "Share of those predictions that are churn."),
        "mean_probability": ("ml_served_mean_probability", "Mean churn probability of those predictions."),
    }
    for model in served.get("models", []):
        for key, (name, text) in figures.items():
            out.set(name, text, model[key], model_version=model["model_version"])
    figures = {
        "rows": ("ml_shadow_rows", "Predictions that a shadow scored too."),
        "mean_absolute_difference": (
            "ml_shadow_mean_absolute_difference",
            "Mean absolute difference of probabilities.",
        ),
        "decisions_that_differ": ("ml_shadow_decisions_that_differ", "Predictions with different decisions."),
    }
    for shadow in served.get("shadows", []):
        versions = {name: shadow[name] for name in ("model_version", "shadow_version")}
        for key, (name, text) in figures.items():
            out.set(name, text, shadow[key], **versions)
    for model in served.get("performance", {}).get("models", []):
        auc = model["metrics"].get("auc")
        _with_interval("ml_served_auc", "Realised area under the ROC curve of served predictions", auc, out)
