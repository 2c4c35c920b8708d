from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import pytest

from include.projects import project_names
from tests.behaviour.worlds import DATA, Trained
from tests.behaviour.worlds import trained as trained_at


@pytest.fixture(scope="session")
def trained_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Trained]:
    """Return a function that trains the model of a project; a project without test data skips the test."""
    base = tmp_path_factory.getbasetemp()
    # The temporary folders of all xdist workers have the same parent.
    shared: Path = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    @lru_cache
    def get(name: str) -> Trained:
        if name not in DATA:
            pytest.skip(f"no test data for project {name!r}: add a function to DATA in tests/behaviour/worlds.py")
        return trained_at(name, shared / f"behaviour-{name}")

    return get


@pytest.fixture(scope="session", params=project_names())
def trained(request: pytest.FixtureRequest, trained_of: Callable[[str], Trained]) -> Trained:
    """The model of each project."""
    return trained_of(request.param)


@pytest.fixture(scope="session")
def subscription(trained_of: Callable[[str], Trained]) -> Trained:
    return trained_of("subscription")
