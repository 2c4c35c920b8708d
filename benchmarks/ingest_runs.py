"""Ingest runs of a simulated business, each in a separate process, and the row-by-row comparison of two lakes."""

from __future__ import annotations

import datetime as dt
import logging
import os
import shutil
import signal
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from multiprocessing.process import BaseProcess
from pathlib import Path, PurePath

import duckdb
import pyarrow as pa

from include.days import DayRange
from include.ingest import ingest_days
from include.lake import Lake, Table, open_lake
from include.settings import Settings
from simulator import Injection, World, generate

PROJECT = "subscription"
FIRST = dt.date(2023, 1, 1)
HISTORY = DayRange.ending(FIRST + dt.timedelta(days=44), 45)
EARLIER = DayRange.ending(FIRST + dt.timedelta(days=17), 18)
"""Ingested separately, since the labels of its last day mature on the days after the history."""
SEED = 20230101
FAULTS = (
    Injection(kind="late_events", from_day=FIRST, strength=0.05),
    Injection(kind="duplicate_events", from_day=FIRST, strength=0.001),
)


class KillError(Exception):
    """A process ended before it could be killed."""


class IngestError(Exception):
    """An ingest failed unexpectedly."""


@dataclass(frozen=True)
class Business:
    """A simulated business on disk, with an ingested history and further days to ingest.

    Attributes:
        folder: The folder of its landing files and deployments.
        days: The days after the history.
    """

    folder: Path
    days: DayRange

    @classmethod
    def simulate(cls, folder: Path, days: int, customers: int) -> Business:
        """Simulate the history and further days, with late and duplicate events, and ingest the history.

        Args:
            folder: A scratch folder.
            days: Number of days after the history.
            customers: Number of customers.
        """
        span = DayRange(HISTORY.last + dt.timedelta(days=1), HISTORY.last + dt.timedelta(days=days))
        world = World(customers=customers, first_day=FIRST, seed=SEED, pace_days=len(HISTORY) + days)
        generate(folder, world, span.last, FAULTS)
        business = cls(folder, span)
        for part in (EARLIER, DayRange(EARLIER.last + dt.timedelta(days=1), HISTORY.last)):
            finish(business.settings("history"), part)
        return business

    def settings(self, name: str) -> Settings:
        """Return the settings of a deployment, which has its own lake and shares the sources."""
        return Settings(home=self.folder / name, project=PROJECT, landing_uri=str(self.folder / "landing"))

    def deploy(self, name: str) -> Settings:
        """Create a deployment that has ingested the history, and return its settings."""
        settings = self.settings(name)
        shutil.copytree(self.settings("history").home, settings.home)
        return settings


def start(settings: Settings, days: DayRange) -> ForkServerProcess:
    """Start an ingest in a process of its own, which exits with 0 on success.

    Args:
        settings: The deployment.
        days: The days to ingest.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, "great_expectations"])  # importing it takes seconds
    process = context.Process(target=_ingest, args=(settings, days))
    process.start()
    return process


def finish(settings: Settings, days: DayRange) -> None:
    """Ingest days in a process of their own, and wait for its end.

    Args:
        settings: The deployment.
        days: The days to ingest.

    Raises:
        IngestError: The ingest failed.
    """
    process = start(settings, days)
    process.join()
    if process.exitcode:
        raise IngestError(f"the ingest of {days} ended with {process.exitcode}")


def kill_after_commit(process: BaseProcess, table: Table) -> None:
    """Kill a process after its next commit to a table, and wait for its end.

    Args:
        process: The process, which runs.
        table: The table; no other process writes to it.

    Raises:
        KillError: The process ended before.
    """
    version = table.version()
    while process.is_alive() and table.version() == version:
        process.join(0.05)
    process.kill()
    process.join()
    if process.exitcode != -signal.SIGKILL:
        raise KillError(f"the process ended with {process.exitcode} before it could be killed")


def _ingest(settings: Settings, days: DayRange) -> None:
    logging.disable(logging.WARNING)
    ingest_days(settings, days)


@dataclass(frozen=True)
class Difference:
    """The number of rows that a table lacks (``lost``) and has in excess (``doubled``), compared with another table."""

    table: str
    lost: int
    doubled: int


def compare_lakes(expected: Settings, found: Settings, days: DayRange) -> list[Difference]:
    """Compare every table of two lakes as a multiset of rows.

    Args:
        expected: The deployment with the expected rows.
        found: The deployment to compare.
        days: The days to compare.
    """
    left, right = open_lake(expected), open_lake(found)
    names = sorted({*left.table_names(), *right.table_names()})
    return [_compare(name, left, right, days) for name in names]


def _compare(name: str, expected: Lake, found: Lake, days: DayRange) -> Difference:
    left, right = (lake.table(name) for lake in (expected, found))
    if not (left.exists() and right.exists()):
        return Difference(name, left.count(), right.count())
    # Days with the same files have the same rows; a copied lake shares most of them.
    files = [{day: {PurePath(uri).name for uri in uris} for day, uris in t.partitions().items()} for t in (left, right)]
    changed = [day for day in days if files[0].get(day) != files[1].get(day)]
    wanted = left.read(changed)
    got = right.read(changed).select(wanted.column_names)
    return Difference(name, count_missing(wanted, got), count_missing(got, wanted))


def count_missing(rows: pa.Table, other: pa.Table) -> int:
    """Return the number of rows of a table that another table with the same columns lacks; equal rows count each."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("one", rows)
    connection.register("two", other)
    return int(connection.execute("SELECT count(*) FROM (FROM one EXCEPT ALL FROM two)").fetchall()[0][0])
