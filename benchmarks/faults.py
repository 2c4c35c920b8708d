"""Proof that a killed ingest loses and duplicates no rows: ``make faults``.

The ingest of each day is killed (SIGKILL) several times at a random moment, and is then run once to its end. Every
table must contain the same rows as after an ingest without kills.
"""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
import time
from pathlib import Path

from benchmarks.figures import report
from benchmarks.ingest_runs import HISTORY, SEED, Business, Difference, KillError, compare_lakes, finish, start
from include.days import DayRange
from include.settings import Settings

KILLS = 36
KILLS_A_DAY = 6
CUSTOMERS = 4_000
ATTEMPTS_PER_KILL = 5


def kill_at_random(settings: Settings, day: DayRange, seconds: float, rng: random.Random) -> None:
    """Start an ingest and kill it at a random moment.

    Args:
        settings: The deployment.
        day: The day to ingest.
        seconds: The duration of an ingest without kills.
        rng: Draws the moment.

    Raises:
        KillError: The ingest finished before the kill in every attempt.
    """
    for _ in range(ATTEMPTS_PER_KILL):
        process = start(settings, day)
        process.join(rng.uniform(0, seconds))
        if process.is_alive() and process.pid:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        if process.exitcode == -signal.SIGKILL:
            return
    raise KillError(f"the ingest of {day} finished before the kill {ATTEMPTS_PER_KILL} times")


def compare_killed_with_complete(folder: Path, kills: int, kills_a_day: int, customers: int) -> list[Difference]:
    """Compare ingests that are killed and repeated with ingests without kills.

    Args:
        folder: A scratch folder.
        kills: Total number of kills.
        kills_a_day: Number of kills per day.
        customers: Number of customers.

    Returns:
        The differences, table by table.
    """
    days = -(-kills // kills_a_day)
    report("simulating and ingesting", len(HISTORY), "days of history")
    business = Business.simulate(folder, days, customers)
    complete, killed = business.deploy("complete"), business.deploy("killed")
    rng = random.Random(SEED)  # noqa: S311 - moments, not secrets
    for day in map(DayRange.single, business.days):
        started = time.perf_counter()
        finish(complete, day)
        seconds = time.perf_counter() - started
        for number in range(kills_a_day):
            kill_at_random(killed, day, seconds, rng)
            report(day, "killed", number + 1, "times")
        finish(killed, day)
    return compare_lakes(complete, killed, DayRange(HISTORY.first, business.days.last))


def main() -> None:
    """Print the figures as one JSON object on the last line."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="churnflow-") as folder:
        found = compare_killed_with_complete(Path(folder), KILLS, KILLS_A_DAY, CUSTOMERS)
    for item in found:
        report(item)
    figures = {
        "kills": KILLS,
        "lost": sum(item.lost for item in found),
        "doubled": sum(item.doubled for item in found),
        "mismatched_tables": sum(bool(item.lost or item.doubled) for item in found),
        "tables": len(found),
        "seconds": round(time.perf_counter() - started, 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
