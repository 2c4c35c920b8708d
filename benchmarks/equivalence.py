"""Proof that a backfill equals daily runs: ``make equivalence``.

The same days are ingested twice, each day in a separate process: first one after the other, then four at a time in
random order. Every table must then contain the same rows.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.figures import report
from benchmarks.ingest_runs import HISTORY, SEED, Business, Difference, compare_lakes, finish
from include.days import DayRange
from include.settings import Settings

DAYS = 14
PARALLEL = 4
CUSTOMERS = 4_000


def run_days(settings: Settings, days: list[DayRange], parallel: int) -> None:
    """Ingest ranges of days in their order, each in a process of its own.

    Args:
        settings: The deployment.
        days: The ranges of days.
        parallel: Number of parallel processes.
    """

    def run(day: DayRange) -> None:
        finish(settings, day)
        report(settings.home.name, "has ingested", day)

    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(run, days))


def compare_daily_with_backfill(folder: Path, days: int, parallel: int, customers: int) -> list[Difference]:
    """Compare a backfill in random order with daily runs.

    Args:
        folder: A scratch folder.
        days: Number of days to ingest after the history.
        parallel: Number of parallel processes of the backfill.
        customers: Number of customers.

    Returns:
        The differences, table by table.
    """
    report("simulating and ingesting", len(HISTORY), "days of history")
    business = Business.simulate(folder, days, customers)
    daily, backfill = business.deploy("daily"), business.deploy("backfill")
    singles = [DayRange.single(day) for day in business.days]
    run_days(daily, singles, parallel=1)
    random.Random(SEED).shuffle(singles)  # noqa: S311 - an order, not a secret
    run_days(backfill, singles, parallel=parallel)
    return compare_lakes(daily, backfill, DayRange(HISTORY.first, business.days.last))


def main() -> None:
    """Print the figures as one JSON object on the last line."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="churnflow-") as folder:
        found = compare_daily_with_backfill(Path(folder), DAYS, PARALLEL, CUSTOMERS)
    for item in found:
        report(item)
    figures = {
        "days": DAYS,
        "at_once": PARALLEL,
        "tables": len(found),
        "differences": sum(item.lost + item.doubled for item in found),
        "seconds": round(time.perf_counter() - started, 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
