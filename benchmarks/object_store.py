"""A lake in an object store, compared with one on a disk: ``make bench NAME=object_store ARGS=s3://bucket/prefix``.

The grocery history is ingested into both lakes. Then two processes ingest one further day each at the same time into
the object store, and a third process is killed in the middle of a repetition, which is then completed. All tables must
have the same rows as those on the disk. Credentials come from the environment, as for ``CHURN_LAKE_URI``.
"""

from __future__ import annotations

import datetime as dt
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.figures import print_figures, report
from benchmarks.ingest_runs import compare_lakes, finish, kill_after_commit, start
from include.days import DayRange
from include.lake import open_lake
from include.settings import Settings
from local.grocery_export import export

HISTORY = DayRange(dt.date(2017, 1, 1), dt.date(2017, 12, 15))
FURTHER = [DayRange.single(HISTORY.last + dt.timedelta(days=number)) for number in (1, 2)]


def ingest(settings: Settings, days: DayRange) -> float:
    """Ingest days, and return the seconds.

    Args:
        settings: The deployment.
        days: The days.
    """
    started = time.perf_counter()
    finish(settings, days)
    seconds = time.perf_counter() - started
    report(f"{settings.lake_uri}: {days} in {seconds:.1f} s")
    return seconds


def ingest_at_once(settings: Settings) -> None:
    """Ingest the further days in two processes at the same time.

    Args:
        settings: The deployment.
    """
    processes = [start(settings, day) for day in FURTHER]
    for process, day in zip(processes, FURTHER, strict=True):
        process.join()
        if process.exitcode:
            report(f"the ingest of {day} ended with {process.exitcode}; it is repeated, as Airflow does")
            finish(settings, day)


def kill_and_repeat(settings: Settings) -> None:
    """Kill a repeated ingest after its first write to silver, and then complete it.

    Args:
        settings: The deployment.

    Raises:
        KillError: The ingest finished before.
    """
    kill_after_commit(start(settings, FURTHER[0]), open_lake(settings).table("silver/transactions"))
    finish(settings, FURTHER[0])


def main(address: Annotated[str, typer.Argument(help="An unused address, such as s3://bucket/prefix.")]) -> None:
    """Print the figures as one JSON object on the last line."""
    with tempfile.TemporaryDirectory(prefix="churnflow-") as scratch:
        folder = Path(scratch)
        disk = Settings(home=folder / "disk", project="grocery", landing_uri=str(folder / "landing"))
        store = disk.model_copy(update={"home": folder / "store", "lake_uri": address.rstrip("/")})
        export(folder / "landing" / "grocery", DayRange(HISTORY.first, FURTHER[-1].last))
        seconds = {"disk_s": ingest(disk, HISTORY), "object_store_s": ingest(store, HISTORY)}
        for day in FURTHER:
            seconds["day_disk_s"] = ingest(disk, day)
        ingest_at_once(store)
        seconds["day_object_store_s"] = ingest(store, FURTHER[-1])
        kill_and_repeat(store)
        found = compare_lakes(disk, store, DayRange(HISTORY.first, FURTHER[-1].last))
        for item in found:
            report(item)
        lake = open_lake(disk)
        figures = {
            "tables": len(found),
            "rows": sum(lake.table(item.table).count() for item in found),
            "different": sum(item.lost + item.doubled for item in found),
            **{name: round(value, 1) for name, value in seconds.items()},
        }
    print_figures("object_store", figures, {"address": address})


if __name__ == "__main__":
    typer.run(main)
