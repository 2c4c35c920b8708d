"""A feature row of a day depends on nothing that happened, or became known, after that day."""

import pytest

from include.features.compile import compute_features
from tests.features.histories import SNAPSHOTS, agrees
from tests.features.language import MemoryLake, project

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("day", SNAPSHOTS[1::2], ids=str)
def test_a_day_alone_without_its_future_is_as_it_is_among_others_with_theirs(day, rows, features):
    past = {name: [row for row in some if row["dt"] <= day] for name, some in rows.items()}
    alone = compute_features(project(), MemoryLake(past), [day]).to_pylist()
    together = [row for row in features.to_pylist() if row["dt"] == day]
    assert len(alone) == len(together)
    for one, other in zip(alone, together, strict=True):
        assert all(agrees(one[name], other[name]) for name in one)
