from __future__ import annotations

from pathlib import Path

import pytest

from include.serving.endpoint.keys import add_key


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "api-keys.json"


@pytest.fixture(scope="module")
def key(key_file: Path) -> str:
    """A key of ``key_file``."""
    return add_key(key_file, "crm")
