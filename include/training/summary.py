"""What a training brought, on a few lines for people."""

from __future__ import annotations

from include.training.data.dataset import DatasetManifest, DatasetPart
from include.training.release.promote import PromotionResult
from include.training.train import TrainingResult

_METRICS = {
    "auc": "AUC",
    "pr_auc": "PR-AUC",
    "brier": "Brier score",
    "ece": "calibration error",
    "precision": "precision from 0.5",
    "recall": "recall from 0.5",
    "f1": "F1 from 0.5",
    "accuracy": "accuracy from 0.5",
    "precision_at_threshold": "precision of offers",
    "recall_at_threshold": "recall of offers",
    "offers_per_1000_at_threshold": "offers per 1,000",
    "saving_usd_per_1000_at_threshold": "saved, $ per 1,000",
    "saving_usd_per_1000_everybody": "if all get an offer",
}


def render_training(manifest: DatasetManifest, trained: TrainingResult) -> str:
    """Return the data set, the figures on the test, the requirements missed, and what looks like a leak."""
    by = "by time" if manifest.split == "time" else "by customer: this data has no time"
    lines = [
        ("learned from", _rows(manifest.train)),
        ("judged on", f"{_rows(manifest.test)}; split {by}"),
        (
            "model",
            f"{trained.model_name} version {trained.model_version}, {trained.trials} trials, {_seconds(trained)}",
        ),
        *((title, _with_interval(trained.metrics, name)) for name, title in _METRICS.items()),
        *(
            ("missed", f"{verdict['name']}: {verdict['found']:.4g}, {verdict['bound']} {verdict['required']:g}")
            for verdict in trained.verdicts
            if not verdict["ok"]
        ),
        *(("leak?", finding) for finding in trained.leakage),
    ]
    return "\n".join(_line(title, text) for title, text in lines)


def render_decision(decided: PromotionResult) -> str:
    """Return whether the model is the champion now, and why."""
    return _line("champion" if decided.promoted else "not promoted", decided.reason)


def _line(title: str, text: str) -> str:
    return f"{title:20} {text}"


def _rows(part: DatasetPart) -> str:
    return f"{part.rows:,} rows, {part.positive_ratio:.1%} churned"


def _seconds(trained: TrainingResult) -> str:
    return f"{trained.seconds['total']:.0f} s"


def _with_interval(metrics: dict[str, float], name: str) -> str:
    figure = _figure(metrics[name])
    if f"{name}_low" not in metrics:
        return figure
    return f"{figure:9} 95 %: {_figure(metrics[f'{name}_low'])} to {_figure(metrics[f'{name}_high'])}"


def _figure(value: float) -> str:
    return f"{value:.3f}" if abs(value) <= 1 else f"{value:,.0f}"
