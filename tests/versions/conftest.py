from __future__ import annotations

from pathlib import Path

import pytest

from include.days import DayRange
from include.lake import Lake
from include.projects import Project
from include.versions.repository import Repository
from tests.versions.world import load
from tests.world import grocery, write_world

WEEK = DayRange.parse("2017-01-01", "2017-01-07")


@pytest.fixture(scope="session")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("landing")
    write_world(folder, WEEK)
    return folder


@pytest.fixture
def project() -> Project:
    return grocery()


@pytest.fixture
def lake(project: Project, landing: Path, tmp_path: Path) -> Lake:
    lake = Lake(str(tmp_path / "lake" / "grocery"))
    load(project, lake, landing, WEEK)
    return lake


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "versions" / "grocery", str(tmp_path / "versions" / "remote" / "grocery"))
