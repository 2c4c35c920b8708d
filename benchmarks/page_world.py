"""A year of monitoring results of an invented project: drift of some features, one decay, trainings and incidents."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import numpy as np
import pyarrow as pa

from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import SCORES_TABLE
from include.monitoring.incidents import record_incidents
from include.monitoring.results import day_dir, write_result
from include.projects import load_project
from include.serving.deployment.state import BentoReference, ServingState
from include.settings import Settings

LAST_DAY = dt.date(2026, 11, 30)
HORIZON = 28
MULTIPLIER = 1.5
CUSTOMERS = 12_000
SOURCES = {"transactions": 84_000, "customers": 12_000, "campaigns": 3_100, "products": 5_200, "support_tickets": 900}
_DRIFTS = {"spend_28d": (80, 96), "visits_14d": (84, 94), "days_since_purchase": (228, 258), "share_online": (232, 250)}
"""The features with changed inputs, and the first and last day of the change."""
_CONCEPT = 170
"""The day on which the causes of churn change."""
_RETRAINED = (0, 110, 206, 262)
"""The days from which versions 1, 2, 3 and 4 serve."""
_GROUPS = ("spend", "visits", "basket_value", "discount", "share_produce", "share_fresh", "days_since", "tenure")


def write_year(settings: Settings, days: int, features: int) -> list[dt.date]:
    """Write results, reports, incidents, retention lists and model cards, and return the monitored days.

    Args:
        settings: The folders; the project must exist.
        days: The number of days, of which ``LAST_DAY`` is the last.
        features: The number of features.
    """
    rng = np.random.default_rng(7)
    names = _names(features)
    monitored = [LAST_DAY - dt.timedelta(days=number) for number in reversed(range(days))]
    for number, day in enumerate(monitored):
        folder = day_dir(settings.reports_dir, day)
        write_result(settings.reports_dir, day, _result(settings, names, monitored, number, rng))
        (folder / "index.html").write_text("<p>The report of the day.</p>")
        quality = settings.reports_dir / "quality" / str(day)
        quality.mkdir(parents=True, exist_ok=True)
        for table in ("silver", "gold"):
            (quality / f"{table}.html").write_text("<p>The checks of the day.</p>")
    record_incidents(load_project(settings.project), settings, monitored[0])
    rows = pa.table({"dt": pa.array([LAST_DAY] * CUSTOMERS), "customer_id": [str(n) for n in range(CUSTOMERS)]})
    open_lake(settings).table(SCORES_TABLE).replace(DayRange.single(LAST_DAY), rows)
    _deploy(settings, monitored)
    return monitored


def _names(features: int) -> list[str]:
    windows = ("7d", "14d", "28d", "56d", "84d", "168d")
    made = [f"{group}_{window}" for group in _GROUPS for window in windows]
    made += [f"ratio_{index}" for index in range(features)]
    return [*_DRIFTS, *(name for name in made if name not in _DRIFTS)][:features]


def _version(number: int) -> int:
    return sum(number >= first for first in _RETRAINED)


def _auc(number: int) -> float:
    """Return the AUC of the serving version. The concept change costs .09; a version trained after it regains most."""
    base = 0.842 + 0.006 * np.sin(2 * np.pi * number / 365)
    age = 0.00008 * (number - _RETRAINED[_version(number) - 1])
    if number < _CONCEPT:
        return float(base - age)
    lost = 0.09 if _version(number) < 3 else 0.012 if _version(number) == 3 else 0.004
    return float(base - age - lost)


def _interval(value: float, half: float) -> dict[str, float]:
    return {"value": float(value), "low": float(value - half), "high": float(value + half)}


def _result(
    settings: Settings, names: list[str], monitored: list[dt.date], number: int, rng: np.random.Generator
) -> dict[str, Any]:
    day = monitored[number]
    version, scored = _version(number), number - HORIZON
    features = [_feature(name, number, rng) for name in names]
    features.sort(key=lambda item: (not item["drifted"], item["drifted"] and not item["counts"], -item["severity"]))
    counting = [item for item in features if item["drifted"] and item["counts"]]
    sources = [_source(name, rows, number, day, rng) for name, rows in SOURCES.items()]
    severity = max([item["severity"] for item in features if item["counts"]] + [item["severity"] for item in sources])
    drifted = severity >= MULTIPLIER
    models = [_realised(scored, monitored, rng)] if scored >= 0 else []
    decayed = bool(models) and models[0]["verdict"] == "decayed"
    auc = _auc(number) + (0.085 if number >= _CONCEPT and version < 3 else 0.0)  # an estimate does not see the change
    request = number in {first - 2 for first in _RETRAINED}
    return {
        "format": 1,
        "project": settings.project,
        "day": str(day),
        "model_version": str(version),
        "trained_through": str(day - dt.timedelta(days=40)),
        "evaluated_through": str(day - dt.timedelta(days=100)),
        "drift": {
            "drifted": drifted,
            "reason": f"{3 if drifted else 0} of the last 3 days exceed the limits; drift requires 2 of 3.",
            "promise": "Backtest: 0 false verdicts on 400 past days, at most 2.7 a year with 95 % confidence.",
            "days": [{"day": str(day), "severity": severity, "exceeds": drifted}],
            "features_day": str(day),
            "severity": severity,
            "current_rows": CUSTOMERS,
            "drifted_features": len(counting),
            "informing_features": sum(item["drifted"] and not item["counts"] for item in features),
            "features": features,
        },
        "root_causes": [f"{counting[0]['name']} and others are computed from transactions."] if counting else [],
        "sources": sources,
        "performance": {
            "state": "known" if models else "not yet known",
            "reason": models[0]["reason"] if models else "No scored day has matured.",
            "decayed": decayed,
            "models": models,
            "segments": [],
        },
        "expected": {
            "reason": f"An estimate from the probabilities of {CUSTOMERS:,} customers.",
            "model_version": str(version),
            "customers": CUSTOMERS,
            "metrics": {
                "auc": _interval(auc + rng.normal(0, 0.002), 0.024),
                "saving_usd_per_1000": _interval(_saving(auc) + rng.normal(0, 120), 2600),
                "observed_churn": _interval(0.12, 0.03),
            },
            "record": [],
            "covered": {},
        },
        "served": {"reason": "", "models": [], "drift": {}, "performance": {"models": []}, "shadows": []},
        "retrain_reason": (
            "decay: the realised AUC is below the test" if decayed else "drift: the expected saving moved"
        )
        if request
        else None,
        "retrain_refusal": None,
        "expected_saving_usd_per_1000": {"reference": _saving(0.84), "current": _saving(auc)},
        "report": f"drift/{day}/index.html",
    }


def _saving(auc: float) -> float:
    return 41_000 + (auc - 0.84) * 160_000


def _feature(name: str, number: int, rng: np.random.Generator) -> dict[str, Any]:
    severity = max(0.0, rng.normal(-0.6, 0.5))
    first, last = _DRIFTS.get(name, (1, 0))
    if first <= number <= last:
        severity = 1.4 + 4.5 * float(np.sin(np.pi * (number - first + 1) / (last - first + 2))) + rng.normal(0, 0.15)
    severity, counts = float(severity), not name.startswith("ratio_")
    if not counts and name.endswith("3") and number % 90 > 75:
        severity = float(1.6 + abs(rng.normal(0, 0.3)))
    return {
        "name": name,
        "influence": 0.02 if counts else 0.001,
        "counts": counts,
        "drifted": severity >= MULTIPLIER,
        "severity": severity,
        "rule": "wasserstein",
        "statistic": severity / 10,
        "limit": 0.1,
        "p_value": 0.0001 if severity else 0.5,
        "missing_reference": 0.01,
        "missing_current": 0.011,
        "reason": f"Wasserstein distance {severity / 10:.3f} sd, mean 12.1 → {12.1 + severity:.1f}; limit 0.1",
    }


def _source(name: str, rows: int, number: int, day: dt.date, rng: np.random.Generator) -> dict[str, Any]:
    lost = name == "support_tickets" and 300 <= number <= 306
    late = 3 if name == "campaigns" and number % 60 > 57 else 0
    found = int(rows * (0.42 if lost else 1 + rng.normal(0, 0.02)))
    text = f"rows fell by 58% ({found:,} instead of {rows:,})"
    return {
        "name": name,
        "counts": name != "products",
        "exceeds": lost,
        "severity": 1.9 if lost else 0.3,
        "rows": found,
        "expected_rows": float(rows),
        "newest": str(day - dt.timedelta(days=late)),
        "days_without_rows": late,
        "longest_gap": 6,
        "quarantined": {},
        "findings": [{"kind": "volume", "text": text}] if lost else [],
        "change": found / rows - 1,
    }


def _realised(scored: int, monitored: list[dt.date], rng: np.random.Generator) -> dict[str, Any]:
    auc = float(_auc(scored) + rng.normal(0, 0.0025))
    test = 0.846 if _version(scored) < 3 else 0.838
    decayed = auc + 0.016 < test - 0.012
    return {
        "model_version": str(_version(scored)),
        "first_day": str(monitored[max(0, scored - 6)]),
        "last_day": str(monitored[scored]),
        "customers": CUSTOMERS,
        "churners": 1440,
        "expected_churn": 0.12,
        "calibration_error": 0.01,
        "metrics": {
            "auc": _interval(auc, 0.016),
            "saving_usd_per_1000": _interval(_saving(auc), 1900),
            "observed_churn": _interval(0.12, 0.006),
            "observed_over_expected": _interval(1.02, 0.05),
        },
        "promised": {"auc": _interval(test, 0.012), "saving_usd_per_1000": _interval(_saving(test), 1500)},
        "verdict": "decayed" if decayed else "not decayed",
        "reason": f"realised AUC {auc:.3f}, test {test:.3f}",
    }


def _deploy(settings: Settings, monitored: list[dt.date]) -> None:
    state = ServingState(settings.serving_dir)
    versions = [(version, first) for version, first in enumerate(_RETRAINED, 1) if first < len(monitored)]
    for version, first in versions:
        bento = settings.serving_dir / f"bento-{version}"
        bundle = bento / "src" / "bundle"
        bundle.mkdir(parents=True)
        trained = str(monitored[first] - dt.timedelta(days=HORIZON + 2))
        contract = {"project": settings.project, "trained_through": trained, "threshold": 0.0913}
        (bundle / "contract.json").write_text(json.dumps(contract))
        state.commit(state.begin(BentoReference(f"churn:{version}", str(version), str(bento), settings.project)))
        card = settings.reports_dir / "model" / str(version)
        card.mkdir(parents=True)
        (card / "model_card.html").write_text("<p>The model card.</p>")
        test = 0.846 if version < 3 else 0.838
        model = {
            "version": str(version),
            "trained_through": trained,
            "metrics": {"auc": _interval(test, 0.012), "saving_usd_per_1000": _interval(_saving(test), 1500)},
            "request_reason": [None, "drift: the expected saving moved", "decay: the realised AUC is below the test"][
                min(version, 3) - 1
            ],
            "decision": {"promoted": True, "reason": "It saves more than the champion on the same rows."},
        }
        (card / "model.json").write_text(json.dumps(model))
