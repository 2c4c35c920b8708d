"""Speed of the simulator, and the highest AUC that a model can reach on it: ``python -m benchmarks.simulator``."""

from __future__ import annotations

import datetime as dt
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from sklearn.metrics import roc_auc_score

from benchmarks.figures import peak_gb
from simulator import World, generate, read_outcomes
from simulator.generate import LANDING, TRUTH

SEED = 20230101
FIRST = dt.date(2023, 1, 1)
WARM_UP_DAYS = 180
REPORT_DAYS = 60


def measure(out: Path, customers: int, days: int) -> dict[str, float]:
    """Generate a world and return its figures.

    Args:
        out: The folder of the world.
        customers: Number of customers.
        days: Number of days.
    """
    start = time.perf_counter()
    world = World(customers=customers, first_day=FIRST, seed=SEED, pace_days=days)

    def report(day: dt.date, events: int) -> None:
        passed = (day - FIRST).days + 1
        if passed % REPORT_DAYS == 0 or passed == days:
            seconds = time.perf_counter() - start
            print(f"day {passed} of {days}: {events:,} events, {seconds:.0f} s", file=sys.stderr, flush=True)

    made = generate(out, world, FIRST + dt.timedelta(days=days - 1), report=report)
    seconds = time.perf_counter() - start
    outcomes = read_outcomes(out / LANDING, out / TRUTH).to_pandas()
    warm = outcomes[outcomes["dt"] >= FIRST + dt.timedelta(days=WARM_UP_DAYS)]
    return {
        "customers": customers,
        "days": days,
        "events": made.events,
        "seconds": round(seconds, 1),
        "events_per_second": round(made.events / seconds),
        "megabytes": round(made.bytes / 1e6),
        "peak_gb": round(peak_gb(), 2),
        "snapshots": int(warm["dt"].nunique()),
        "positive_ratio": round(float(warm["churned"].mean()), 4),
        "expected_positive_ratio": round(float(warm["probability"].mean()), 4),
        "auc_bayes_optimal": round(float(roc_auc_score(warm["churned"], warm["probability"])), 4),
    }


def main(
    customers: Annotated[int, typer.Option(help="Number of customers over the whole period.")] = 100_000,
    days: Annotated[int, typer.Option(help="Number of days; at least 217, so that a snapshot matures.")] = 730,
) -> None:
    """Generate a world in a temporary folder, and print its figures as one JSON object on the last line."""
    with tempfile.TemporaryDirectory(prefix="churnflow-simulator-") as folder:
        figures = measure(Path(folder), customers, days)
    print(json.dumps({"benchmark": "simulator"} | figures))


if __name__ == "__main__":
    typer.run(main)
