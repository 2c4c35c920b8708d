"""Does a backfill equal the daily runs? ``make equivalence``.

The same days are ingested twice: one after the other, and in random order, four at a time, each day in a process of its
own. Every table must then hold the same rows.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.ingest_runs import HISTORY, SEED, Business, Difference, compare_lakes, finish, tell
from include.days import DayRange
from include.settings import Settings

DAYS = 14
AT_ONCE = 4
CUSTOMERS = 4_000


def run_days(settings: Settings, days: list[DayRange], at_once: int) -> None:
    """Ingest every range of ``days`` in a process of its own, so many at a time, in their order."""

    def run(day: DayRange) -> None:
        finish(settings, day)
        tell([day, "is in", settings.home.name])

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(run, days))


def compare_daily_with_backfill(folder: Path, days: int, at_once: int, customers: int) -> list[Difference]:
    """Return what a backfill in random order differs by from daily runs, table by table."""
    tell(["simulating and ingesting", len(HISTORY), "days of history"])
    business = Business.simulate(folder, days, customers)
    daily, backfill = business.deploy("daily"), business.deploy("backfill")
    singles = [DayRange.single(day) for day in business.days]
    run_days(daily, singles, at_once=1)
    random.Random(SEED).shuffle(singles)  # noqa: S311 - an order, not a secret
    run_days(backfill, singles, at_once=at_once)
    return compare_lakes(daily, backfill, DayRange(HISTORY.first, business.days.last))


def main() -> None:
    """Print the figures as one JSON object."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="churnflow-") as folder:
        found = compare_daily_with_backfill(Path(folder), DAYS, AT_ONCE, CUSTOMERS)
    for item in found:
        tell([item])
    figures = {
        "days": DAYS,
        "at_once": AT_ONCE,
        "tables": len(found),
        "differences": sum(item.lost + item.doubled for item in found),
        "seconds": round(time.perf_counter() - started, 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
