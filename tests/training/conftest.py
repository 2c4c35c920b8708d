from __future__ import annotations

from pathlib import Path

import pytest

from include.lake import Lake
from include.projects import Project
from include.training.data.build import build_dataset
from include.training.data.dataset import DatasetRef
from tests.training.gold import LAST_DAY, small_project, snapshot_days, write_gold


@pytest.fixture(scope="session")
def project() -> Project:
    return small_project()


@pytest.fixture(scope="session")
def gold(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(str(tmp_path_factory.mktemp("lake")))
    write_gold(lake, project, snapshot_days(project, 30), customers=120)
    return lake


@pytest.fixture(scope="session")
def dataset(project: Project, gold: Lake, tmp_path_factory: pytest.TempPathFactory) -> DatasetRef:
    return build_dataset(project, gold, LAST_DAY, tmp_path_factory.mktemp("dataset"))


@pytest.fixture
def dataset_copy(dataset: DatasetRef, tmp_path: Path) -> Path:
    folder = tmp_path / "dataset"
    folder.mkdir()
    for file in dataset.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder
