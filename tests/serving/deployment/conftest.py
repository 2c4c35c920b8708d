from __future__ import annotations

from pathlib import Path

import pytest

from include.serving.deployment.package import build_bento
from include.serving.deployment.state import BentoReference
from include.training.model.bundle import Bundle
from tests.serving.conftest import train_bundle


@pytest.fixture(scope="session")
def next_bundle() -> Bundle:
    return train_bundle(seed=11)


@pytest.fixture(scope="session")
def next_bento(next_bundle: Bundle, bento_home: Path) -> BentoReference:
    return build_bento(next_bundle, "8", bento_home)
