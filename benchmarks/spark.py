"""Spark against DuckDB: ``make bench NAME=spark``.

Both example projects are ingested from landing to gold and labels, in two runs, on each engine. Every table must
contain the same rows. Spark runs on this machine, in one process (``local[*]``) or, with ``--cluster``, on a standalone
cluster of two workers.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.figures import report
from benchmarks.ingest_runs import FAULTS, FIRST, SEED, compare_lakes
from benchmarks.spark_cluster import standalone_cluster
from include.days import DayRange
from include.ingest import ingest_days
from include.lake import open_lake
from include.projects import load_project
from include.settings import EngineName, Settings
from local.grocery_export import export
from simulator import World, generate

GROCERY_DAYS = DayRange(dt.date(2017, 1, 1), dt.date(2017, 12, 17))
ENGINES: tuple[EngineName, ...] = ("duckdb", "spark")


def deploy(folder: Path, project: str, engine: EngineName) -> Settings:
    """Return the settings of a deployment with its own lake, and the landing files that all deployments share.

    Args:
        folder: A scratch folder.
        project: The project.
        engine: The engine.
    """
    return Settings(home=folder / engine, project=project, landing_uri=str(folder / "landing"), engine=engine)


def deliver(folder: Path, customers: int, days: int) -> dict[str, DayRange]:
    """Write the landing files of both projects, and return the days of each.

    Args:
        folder: A scratch folder.
        customers: The number of customers of the simulated subscription business.
        days: The number of its days.
    """
    last = FIRST + dt.timedelta(days=days - 1)
    generate(folder, World(customers=customers, first_day=FIRST, seed=SEED, pace_days=days), last, FAULTS)
    export(folder / "landing" / "grocery", GROCERY_DAYS)
    return {"subscription": DayRange(FIRST, last), "grocery": GROCERY_DAYS}


def ingest(settings: Settings, days: DayRange) -> float:
    """Ingest a history, and then its last days again with one more, and return the seconds.

    Args:
        settings: The deployment.
        days: The days.
    """
    started = time.perf_counter()
    yesterday = days.last - dt.timedelta(days=1)
    ingest_days(settings, DayRange(days.first, yesterday))
    ingest_days(settings, DayRange(yesterday - dt.timedelta(days=1), days.last))
    return time.perf_counter() - started


def main(
    customers: Annotated[int, typer.Option(help="Customers of the simulated business.")] = 2_000,
    days: Annotated[int, typer.Option(help="Its days.")] = 90,
    cluster: Annotated[bool, typer.Option("--cluster", help="Use a standalone cluster of two workers.")] = False,
) -> None:
    """Print the figures as one JSON object on the last line."""
    logging.disable(logging.WARNING)
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations  # noqa: F401 - its import is not part of either engine's time

    seconds, tables, features, rows, different = dict.fromkeys(ENGINES, 0.0), 0, 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="churnflow-") as name, ExitStack() as running:
        if cluster:
            os.environ["SPARK_CONF_DIR"] = str(running.enter_context(standalone_cluster(workers=2)))
        folder = Path(name)
        for project, span in deliver(folder, customers, days).items():
            deployments = {engine: deploy(folder, project, engine) for engine in ENGINES}
            for engine, settings in deployments.items():
                taken = ingest(settings, span)
                seconds[engine] += taken
                report(project, "on", engine, f"{taken:.0f} s")
            found = compare_lakes(deployments["duckdb"], deployments["spark"], span)
            for item in found:
                report(project, item)
            lake = open_lake(deployments["duckdb"])
            tables += len(found)
            features += len(load_project(project).features)
            rows += sum(lake.table(item.table).count() for item in found)
            different += sum(item.lost + item.doubled for item in found)
    figures = {
        "tables": tables,
        "features": features,
        "different": different,
        "rows": rows,
        "duckdb_s": round(seconds["duckdb"], 1),
        "spark_s": round(seconds["spark"], 1),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    typer.run(main)
