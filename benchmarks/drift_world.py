"""The data of the drift benchmark: a simulated business with a yearly season and gold rows of every day."""

from __future__ import annotations

import datetime as dt
import sys
import time

from include.days import DayRange
from include.features.compile import feature_batches
from include.features.labels import build_labels
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE
from include.projects import Project
from include.quality.silver import build_silver
from include.settings import Settings
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from simulator import World, generate

SEED = 20230101
SEASON = 0.15
_BLOCK_DAYS = 180


def make_world(settings: Settings, project: Project, customers: int, days: int) -> DayRange:
    """Simulate the subscription business, and compute the gold rows of every day after the warm-up.

    A daily ingest would build the same gold rows, but takes several times as long.

    Args:
        settings: The home folder, to which all files are written.
        project: The subscription project.
        customers: The number of customers over the whole time.
        days: The number of days.

    Returns:
        The days with gold rows.
    """
    last = project.first_day + dt.timedelta(days=days - 1)
    world = World(customers=customers, first_day=project.first_day, seed=SEED, pace_days=days, season=SEASON)
    generate(settings.home, world, last)
    lake, connections = open_lake(settings), Connections.from_settings(settings)
    for block in DayRange(project.first_day, last).blocks(_BLOCK_DAYS):
        load_bronze(project, lake, connections, block)
        build_silver(project, lake, block, settings.reports_dir)
        report(f"silver {block}")
    gold = DayRange(project.first_snapshot, last)
    for block in gold.blocks(_BLOCK_DAYS):
        for batch, rows in feature_batches(project, lake, list(block)):
            lake.table(FEATURES_TABLE).replace(batch, rows)
        report(f"gold {block}")
    build_labels(project, lake, gold)
    report("labels")
    return gold


_STARTED = time.perf_counter()


def report(text: str) -> None:
    """Print a text with the elapsed seconds to standard error."""
    print(f"{time.perf_counter() - _STARTED:6.0f} s  {text}", file=sys.stderr, flush=True)
