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
    """Give a project's model; a test of a project that has no data here is skipped."""
    base = tmp_path_factory.getbasetemp()
    # The processes of one run of the tests have neighbouring folders, and share what lies beside them.
    shared: Path = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    @lru_cache
    def get(name: str) -> Trained:
        if name not in DATA:
            pytest.skip(f"no data for project {name!r}: say in tests/behaviour/worlds.py how to make some")
        return trained_at(name, shared / f"behaviour-{name}")

    return get


@pytest.fixture(scope="session", params=project_names())
def trained(request: pytest.FixtureRequest, trained_of: Callable[[str], Trained]) -> Trained:
    """Every project's model, one after the other."""
    return trained_of(request.param)


@pytest.fixture(scope="session")
def subscription(trained_of: Callable[[str], Trained]) -> Trained:
    return trained_of("subscription")
