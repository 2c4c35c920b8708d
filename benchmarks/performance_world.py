"""The data of the performance and drift benchmarks: simulated businesses that are equal until a change."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterable
from pathlib import Path

from include.days import DayRange
from include.features.compile import feature_batches
from include.features.labels import build_labels
from include.lake import Lake, open_lake
from include.lake.table_names import FEATURES_TABLE
from include.projects import Project, load_project
from include.quality.silver import build_silver
from include.settings import Settings
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from simulator.generate import generate
from simulator.injections import Injection
from simulator.world import World

SEED = 1
SEASON = 0.15
_BLOCK_DAYS = 120


class Business:
    """A simulated subscription business to which days are appended.

    Args:
        home: The folder of the files; it may already contain the days of a business.
        world: The parameters of the simulation.
    """

    def __init__(self, home: Path, world: World) -> None:
        self.settings = Settings(home=home, project="subscription")
        self.project: Project = load_project("subscription").model_copy(update={"first_day": world.first_day})
        self.lake: Lake = open_lake(self.settings)
        self._world = world

    def fork(self, home: Path) -> Business:
        """Return a copy of the business in another folder."""
        shutil.copytree(self.settings.home, home)
        return Business(home, self._world)

    def append(self, days: DayRange, gold: Iterable[dt.date], injections: tuple[Injection, ...] = ()) -> None:
        """Simulate days, and compute gold rows and the labels that are known after these days.

        Args:
            days: The days after the existing days of the business.
            gold: The days of the gold rows, sorted.
            injections: The changes of the business.
        """
        generate(self.settings.home, self._world, days.last, injections)
        connections = Connections.from_settings(self.settings)
        for block in days.blocks(_BLOCK_DAYS):
            load_bronze(self.project, self.lake, connections, block)
            build_silver(self.project, self.lake, block, self.settings.reports_dir)
        for batch, rows in feature_batches(self.project, self.lake, list(gold)):
            self.lake.table(FEATURES_TABLE).replace(batch, rows)
        build_labels(self.project, self.lake, days)
