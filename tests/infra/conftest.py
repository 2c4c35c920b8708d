from __future__ import annotations

from pathlib import Path

import pytest

from include.settings import ROOT
from tests.infra.helm_binary import find_helm


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def helm() -> str:
    found = find_helm()
    if found is None:
        pytest.skip("helm could not be installed, and there is none on PATH")
    return found
