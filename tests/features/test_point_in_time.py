"""A feature row does not depend on events that happened or were delivered after its day."""

import pytest

from include.features.compile import compute_features
from tests.features.histories import SNAPSHOTS, agrees
from tests.features.language import MemoryLake, project

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("day", SNAPSHOTS[2:3], ids=str)
def test_features_do_not_depend_on_later_data(day, rows, features):
    past = {name: [row for row in some if row["dt"] <= day] for name, some in rows.items()}
    alone = compute_features(project(), MemoryLake(past), [day]).to_pylist()
    together = [row for row in features.to_pylist() if row["dt"] == day]
    assert len(alone) == len(together)
    for one, other in zip(alone, together, strict=True):
        assert all(agrees(one[name], other[name]) for name in one)
