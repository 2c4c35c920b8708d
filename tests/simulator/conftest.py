from __future__ import annotations

from pathlib import Path

import pytest

from simulator import generate
from tests.simulator.worlds import LAST, SMALL


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world of 4,000 customers over 200 days, with its true probabilities."""
    out = tmp_path_factory.mktemp("small")
    generate(out, SMALL, LAST)
    return out
