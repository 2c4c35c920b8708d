"""Monitoring results without data behind them."""

from __future__ import annotations

import datetime as dt
from typing import Any


def monitoring_result(day: dt.date, project: str = "grocery", **parts: Any) -> dict[str, Any]:
    """Return the result of a calm day without matured scores.

    Args:
        day: The monitored day.
        project: The project.
        **parts: Keys of ``result.json`` with other values; those of a dictionary are added to it.
    """
    result: dict[str, Any] = {
        "format": 1,
        "project": project,
        "day": str(day),
        "model_version": "7",
        "drift": {
            "drifted": False,
            "reason": "0 of 3 features drifted.",
            "promise": "No backtest of these limits is recorded.",
            "days": [{"day": str(day), "severity": 0.4, "exceeds": False}],
            "features_day": str(day),
            "severity": 0.4,
            "drifted_features": 0,
            "features": [],
        },
        "root_causes": [],
        "sources": [],
        "performance": {
            "state": "not yet known",
            "reason": "No scored day has matured.",
            "decayed": False,
            "models": [],
            "segments": [],
        },
        "expected": {"reason": "", "model_version": None, "customers": 0, "metrics": None, "record": []},
        "expected_saving_usd_per_1000": {"reference": 41000.0, "current": 40500.0},
        "requests_training": False,
        "retrain_reason": None,
        "retrain_refusal": None,
        "report": f"drift/{day}/index.html",
    }
    return result | {
        key: result[key] | value if isinstance(value, dict) and isinstance(result.get(key), dict) else value
        for key, value in parts.items()
    }


def drifted_feature(name: str, severity: float, **parts: Any) -> dict[str, Any]:
    """Return the result of a feature, as in ``result.json``.

    Args:
        name: The feature.
        severity: The severity; from 1.5 the feature drifted.
        **parts: Keys with other values.
    """
    return {
        "name": name,
        "influence": 0.1,
        "counts": True,
        "drifted": severity >= 1.5,
        "severity": severity,
        "reason": "mean 12 → 31",
    } | parts


def realised_model(last_day: dt.date, **parts: Any) -> dict[str, Any]:
    """Return the realised performance of a model, as in ``result.json``.

    Args:
        last_day: The last scored day that is evaluated.
        **parts: Keys with other values.
    """
    return {
        "model_version": "7",
        "first_day": str(last_day - dt.timedelta(days=6)),
        "last_day": str(last_day),
        "customers": 2245,
        "churners": 283,
        "expected_churn": 0.131,
        "calibration_error": 0.02,
        "metrics": {
            "auc": {"value": 0.841, "low": 0.811, "high": 0.871},
            "accuracy": {"value": 0.873, "low": 0.85, "high": 0.89},
            "observed_over_expected": {"value": 1.02, "low": 0.95, "high": 1.1},
            "saving_usd_per_1000": {"value": 41000.0, "low": 39000.0, "high": 43000.0},
        },
        "promised": {"auc": {"value": 0.855, "low": 0.84, "high": 0.87}},
        "verdict": "not decayed",
        "reason": "realised AUC 0.841",
    } | parts


def source_health(name: str, day: dt.date, **parts: Any) -> dict[str, Any]:
    """Return the health of a source, as in ``result.json``.

    Args:
        name: The source.
        day: The newest day with rows.
        **parts: Keys with other values.
    """
    return {
        "name": name,
        "counts": True,
        "exceeds": False,
        "severity": 0.2,
        "rows": 2000,
        "expected_rows": 2010.5,
        "newest": str(day),
        "days_without_rows": 0,
        "longest_gap": 3,
        "quarantined": {},
        "findings": [],
        "change": -0.01,
    } | parts
