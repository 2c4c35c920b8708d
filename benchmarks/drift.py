"""Simulate the false alarms and the power of the drift rules by window size: ``python -m benchmarks.drift``."""

from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd

from include.monitoring.drift import DriftVerdict, detect_drift
from include.projects.features import Aggregate, Attribute, FeatureSpec, Validation
from include.projects.monitoring import Monitoring

SEED = 20170101
DAYS = 10
ROWS = (500, 2_000, 10_000)
NUMBERS, CATEGORIES = 40, 10
SHIFTED = 5
MONITORING = Monitoring(window_days=7, min_drifted_features=5, retrain_on_drift=True, sample_rows=2_000)


def specs() -> list[FeatureSpec]:
    """Return the specifications of 40 numbers and 10 categories."""
    count = Aggregate(function="count", source="events")
    attribute = Attribute(function="attribute", source="people", column="x")
    levels = Validation(categories=["a", "b", "c", "d"])
    return [
        FeatureSpec(name=f"number_{i}", description="", type="aggregation", calculation=count) for i in range(NUMBERS)
    ] + [
        FeatureSpec(name=f"category_{i}", description="", type="derived", calculation=attribute, validation=levels)
        for i in range(CATEGORIES)
    ]


def draw(
    rng: np.random.Generator, rows: int, shift: float = 0.0, spread: float = 1.0, missing: float = 0.05
) -> pd.DataFrame:
    """Return rows of normal, heavy-tailed, zero-inflated and count features, and categories.

    Args:
        rng: The random generator.
        rows: The number of rows.
        shift: The shift of the first five normal features, in standard deviations.
        spread: The factor on the standard deviation of those features.
        missing: The share of missing values in the other five normal features.
    """
    normal = rng.standard_normal((rows, NUMBERS))
    normal[:, :SHIFTED] = normal[:, :SHIFTED] * spread + shift
    normal[:, 10:20] = np.exp(1.5 * normal[:, 10:20])
    normal[:, 20:30] = np.where(rng.random((rows, 10)) < 0.9, 0, np.exp(normal[:, 20:30]))
    normal[:, 30:40] = rng.poisson(3, (rows, 10))
    normal[:, 5:10][rng.random((rows, 5)) < missing] = np.nan
    frame = pd.DataFrame(normal, columns=[f"number_{i}" for i in range(NUMBERS)])
    for i in range(CATEGORIES):
        frame[f"category_{i}"] = rng.choice(["a", "b", "c", "d"], rows, p=[0.4, 0.3, 0.2, 0.1])
    return frame


def simulate(rows: int, days: int = DAYS) -> dict[str, float]:
    """Return the shares of days with false alarms, and of changed features that are detected.

    Args:
        rows: The number of rows of a window.
        days: The number of simulated days.
    """
    rng = np.random.default_rng(SEED + rows)
    null = [detect_drift(draw(rng, rows), draw(rng, rows), specs(), MONITORING) for _ in range(days)]
    cases = {"shift_025_sd": {"shift": 0.25}, "spread_122": {"spread": 1.22}, "missing_05_to_10": {"missing": 0.10}}
    figures = {
        "false_verdicts": float(np.mean([verdict.drifted for verdict in null])),
        "false_features": float(np.mean([bool(verdict.drifted_features) for verdict in null])),
        "false_features_wasserstein_alone": float(np.mean([_any_wasserstein(verdict) for verdict in null])),
    }
    for name, change in cases.items():
        found = [detect_drift(draw(rng, rows), draw(rng, rows, **change), specs(), MONITORING) for _ in range(days)]
        figures[f"found_{name}"] = float(np.mean([len(verdict.drifted_features) / SHIFTED for verdict in found]))
    return figures


def _any_wasserstein(verdict: DriftVerdict) -> bool:
    # The statistic of a number that did not drift is its Wasserstein distance.
    limit = MONITORING.rules.wasserstein
    return any(feature.name.startswith("number") and (feature.statistic or 0) >= limit for feature in verdict.features)


def main() -> None:
    """Print the figures of each window size, and all figures as a JSON object on the last line."""
    start = time.perf_counter()
    figures = {}
    for rows in ROWS:
        figures[str(rows)] = simulate(rows, DAYS if rows < ROWS[-1] else DAYS // 3)
        print(rows, figures[str(rows)], flush=True)
    print(json.dumps({"benchmark": "drift", "seconds": round(time.perf_counter() - start, 1), "rows": figures}))


if __name__ == "__main__":
    main()
