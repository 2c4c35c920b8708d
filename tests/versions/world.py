"""A small world for versions of raw data: the grocery project with short windows."""

from __future__ import annotations

from pathlib import Path

from include.days import DayRange
from include.lake import Lake
from include.projects import Project
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from tests.training.gold import small_project

DAYS = DayRange.parse("2017-01-01", "2017-03-12")


def short_project() -> Project:
    """Return the small grocery project with a horizon of a week, so that ten weeks are enough for a data set."""
    content = small_project(test_snapshots=1).model_dump()
    content["snapshots"]["warm_up_days"] = 14
    content["label"]["horizon_days"] = 7
    return Project.model_validate(content)


def load(project: Project, lake: Lake, landing: Path, days: DayRange) -> None:
    load_bronze(project, lake, Connections(str(landing)), days)
