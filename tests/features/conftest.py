"""Random histories and their features, computed once per session."""

import pyarrow as pa
import pytest

from include.features.compile import compute_features
from tests.features.histories import SNAPSHOTS, draw, silver
from tests.features.language import MemoryLake, project
from tests.features.reference import Row


@pytest.fixture(scope="session")
def rows() -> dict[str, list[Row]]:
    return silver(draw(60))


@pytest.fixture(scope="session")
def features(rows: dict[str, list[Row]]) -> pa.Table:
    return compute_features(project(), MemoryLake(rows), SNAPSHOTS)
