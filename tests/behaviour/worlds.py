"""Test data and a trained model for each project, made by the product from landing files."""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock

from benchmarks.quality import ingest_history
from include.days import DayRange
from include.lake import Lake, open_lake
from include.projects import Project, load_project
from include.settings import Settings
from include.training.candidate import Candidate, make_candidate
from include.training.data.rows import Rows, load_rows
from include.training.model.bundle import Bundle
from local.grocery_export import LAST_DAY, export
from simulator import World, generate

SUBSCRIPTION_DAYS = 400


@dataclass(frozen=True)
class Trained:
    """The model of a project, with its training and test data.

    Attributes:
        project: The project, with a shorter training where the configured training takes minutes.
        settings: Its deployment.
        candidate: The model.
    """

    project: Project
    settings: Settings
    candidate: Candidate

    @property
    def lake(self) -> Lake:
        return open_lake(self.settings)

    @property
    def last_day(self) -> dt.date:
        """The last ingested day; the customers who are active on that day are scored."""
        return self.candidate.dataset.manifest.through

    @cached_property
    def bundle(self) -> Bundle:
        """The evaluated model, which was not fitted on the test rows."""
        return self.candidate.evaluated.bundle(self.candidate.contract)

    @cached_property
    def train(self) -> Rows:
        dataset = self.candidate.dataset
        return load_rows(dataset, dataset.manifest.train, self.candidate.contract)

    @property
    def test(self) -> Rows:
        return self.candidate.test


def _subscription(home: Path) -> DayRange:
    project = load_project("subscription")
    world = World(customers=6_000, first_day=project.first_day, seed=1, pace_days=SUBSCRIPTION_DAYS)
    days = DayRange(world.first_day, world.first_day + dt.timedelta(days=SUBSCRIPTION_DAYS - 1))
    generate(home, world, days.last)
    return days


def _grocery(home: Path) -> DayRange:
    """Export every second household, which halves the time."""
    days = DayRange(load_project("grocery").first_day, LAST_DAY)
    landing = home / "landing" / "grocery"
    export(landing, days)
    for file in (landing / "transactions").iterdir():
        rows = pq.read_table(file)
        pq.write_table(rows.filter(pc.equal(pc.bit_wise_and(rows["household_id"], 1), 0)), file)
    return days


DATA: dict[str, Callable[[Path], DayRange]] = {"subscription": _subscription, "grocery": _grocery}
"""Project -> function that fills the landing folder below a home and returns its days."""

SHORTER: dict[str, dict[str, Any]] = {
    "subscription": {
        "n_trials": 12,  # the first four are starting points
        "cv_folds": 2,
        "test_snapshots": 6,
        "search_space": {"n_estimators": {"low": 100, "high": 300}},
    }
}
"""Project -> reduced training settings. Other projects are trained as in production."""


def project_of(name: str, **training: Any) -> Project:
    """Return a project with the reduced training settings, updated by ``training``."""
    content = load_project(name).model_dump()
    changes = SHORTER.get(name, {}) | training
    space = content["training"]["search_space"] | changes.pop("search_space", {})
    content["training"] |= changes | {"search_space": space}
    return Project.model_validate(content)


def trained(name: str, home: Path) -> Trained:
    """Return the model of a project. A file lock lets one process make data and model for all processes."""
    settings, project = Settings(home=home, project=name), project_of(name)
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / "lock"):
        stored = home / "candidate.pickle"
        if not stored.exists():
            dataset = ingest_history(project, settings, DATA[name](home))
            stored.write_bytes(pickle.dumps(make_candidate(project, settings, dataset)))
        candidate = pickle.loads(stored.read_bytes())  # noqa: S301 - written above
    return Trained(project, settings, candidate)
