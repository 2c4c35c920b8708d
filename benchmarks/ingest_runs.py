"""Ingest runs of a simulated business as processes of their own, and the comparison of two lakes, row for row."""

from __future__ import annotations

import datetime as dt
import logging
import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import duckdb

from include.days import DayRange
from include.ingest import ingest_days
from include.lake import Lake, open_lake
from include.settings import Settings
from simulator import Injection, World, generate

PROJECT = "subscription"
FIRST = dt.date(2023, 1, 1)
HISTORY = DayRange.ending(FIRST + dt.timedelta(days=44), 45)
EARLIER = DayRange.ending(FIRST + dt.timedelta(days=17), 18)
"""Ingested first by itself, since labels of its last day mature among the days after the history."""
SEED = 20230101
FAULTS = (
    Injection(kind="late_events", from_day=FIRST, strength=0.05),
    Injection(kind="duplicate_events", from_day=FIRST, strength=0.001),
)


class IngestError(Exception):
    """An ingest that should have succeeded did not."""


@dataclass(frozen=True)
class Business:
    """A simulated business on disk, with a history that is ingested and days that are not yet.

    Attributes:
        folder: Everything lies below it.
        days: The days after the history.
    """

    folder: Path
    days: DayRange

    @classmethod
    def simulate(cls, folder: Path, days: int, customers: int) -> Business:
        """Simulate ``days`` after the history, with late and duplicate events in them, and ingest the history."""
        span = DayRange(HISTORY.last + dt.timedelta(days=1), HISTORY.last + dt.timedelta(days=days))
        world = World(customers=customers, first_day=FIRST, seed=SEED, pace_days=len(HISTORY) + days)
        generate(folder, world, span.last, FAULTS)
        business = cls(folder, span)
        for part in (EARLIER, DayRange(EARLIER.last + dt.timedelta(days=1), HISTORY.last)):
            finish(business.settings("history"), part)
        return business

    def settings(self, name: str) -> Settings:
        """Return the settings of the deployment ``name``, which has a lake of its own and the same sources."""
        return Settings(home=self.folder / name, project=PROJECT, landing_uri=str(self.folder / "landing"))

    def deploy(self, name: str) -> Settings:
        """Return the settings of a new deployment ``name`` that has ingested the history."""
        settings = self.settings(name)
        shutil.copytree(self.settings("history").home, settings.home)
        return settings


def start(settings: Settings, days: DayRange) -> ForkServerProcess:
    """Start an ingest in a process of its own; it exits with 0 when it did its work."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__, "great_expectations"])  # seconds, and the same in every process
    process = context.Process(target=_ingest, args=(settings, days))
    process.start()
    return process


def finish(settings: Settings, days: DayRange) -> None:
    """Ingest ``days`` in a process of its own, and wait for it.

    Raises:
        IngestError: It failed.
    """
    process = start(settings, days)
    process.join()
    if process.exitcode:
        raise IngestError(f"the ingest of {days} ended with {process.exitcode}")


def _ingest(settings: Settings, days: DayRange) -> None:
    logging.disable(logging.WARNING)
    ingest_days(settings, days)


@dataclass(frozen=True)
class Difference:
    """What one table lacks of another, and what it has too much, in rows."""

    table: str
    lost: int
    doubled: int


def compare_lakes(expected: Settings, found: Settings, days: DayRange) -> list[Difference]:
    """Return one comparison for each table that either lake has, over the rows of ``days``, as multisets."""
    left, right = open_lake(expected), open_lake(found)
    names = sorted({*left.table_names(), *right.table_names()})
    return [_compare(name, left, right, days) for name in names]


def _compare(name: str, expected: Lake, found: Lake, days: DayRange) -> Difference:
    left, right = (lake.table(name) for lake in (expected, found))
    if not (left.exists() and right.exists()):
        return Difference(name, left.count(), right.count())
    wanted = left.read(days)
    columns = wanted.column_names
    connection = duckdb.connect()
    connection.register("wanted", wanted)
    connection.register("got", right.read(days).select(columns))

    def beyond(one: str, other: str) -> int:
        counted = connection.execute(f"SELECT count(*) FROM (FROM {one} EXCEPT ALL FROM {other})")  # noqa: S608
        return int(counted.fetchall()[0][0])

    return Difference(name, beyond("wanted", "got"), beyond("got", "wanted"))


def tell(parts: Iterable[object]) -> None:
    """Write progress to standard error, so that standard output ends with the figures."""
    print(*parts, file=sys.stderr, flush=True)
