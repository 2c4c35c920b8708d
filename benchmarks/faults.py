"""Is anything lost or doubled when the ingest is killed? ``make faults``.

Each day's ingest runs in a process that is killed (SIGKILL) at a random moment, several times, and is then run once to
its end. Every table must hold the same rows as in a lake whose ingest nobody disturbed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import tempfile
import time
from pathlib import Path

from benchmarks.ingest_runs import HISTORY, SEED, Business, Difference, compare_lakes, finish, start, tell
from include.days import DayRange
from include.settings import Settings

KILLS = 36
KILLS_A_DAY = 6
CUSTOMERS = 4_000
TRIES_PER_KILL = 5


class KillError(Exception):
    """The ingest was never caught at work."""


def kill_at_random(settings: Settings, day: DayRange, seconds: float, rng: random.Random) -> None:
    """Start an ingest and kill it while it works.

    Args:
        settings: The deployment.
        day: What is ingested.
        seconds: How long an undisturbed ingest takes.
        rng: Draws the moment.

    Raises:
        KillError: It was done before the kill, several times.
    """
    for _ in range(TRIES_PER_KILL):
        process = start(settings, day)
        process.join(rng.uniform(0, seconds))
        if process.is_alive() and process.pid:
            os.kill(process.pid, signal.SIGKILL)
        process.join()
        if process.exitcode == -signal.SIGKILL:
            return
    raise KillError(f"the ingest of {day} was never caught at work")


def compare_disturbed_with_undisturbed(folder: Path, kills: int, kills_a_day: int, customers: int) -> list[Difference]:
    """Kill so many ingests, run each day to its end, and return what differs from undisturbed ones by table."""
    days = -(-kills // kills_a_day)
    tell(["simulating and ingesting", len(HISTORY), "days of history"])
    business = Business.simulate(folder, days, customers)
    calm, disturbed = business.deploy("calm"), business.deploy("disturbed")
    rng = random.Random(SEED)  # noqa: S311 - moments, not secrets
    for day in map(DayRange.single, business.days):
        started = time.perf_counter()
        finish(calm, day)
        seconds = time.perf_counter() - started
        for number in range(kills_a_day):
            kill_at_random(disturbed, day, seconds, rng)
            tell([day, "killed", number + 1, "times"])
        finish(disturbed, day)
    return compare_lakes(calm, disturbed, DayRange(HISTORY.first, business.days.last))


def main() -> None:
    """Print the figures as one JSON object."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="churnflow-") as folder:
        found = compare_disturbed_with_undisturbed(Path(folder), KILLS, KILLS_A_DAY, CUSTOMERS)
    for item in found:
        tell([item])
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
