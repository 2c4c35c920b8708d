"""The repository's root, and the helm binary."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def helm() -> str:
    """The pinned helm, else the one on PATH; without either the tests that need it skip and say why."""
    got = subprocess.run([ROOT / "bin/get-helm"], capture_output=True, text=True, check=False)
    found = got.stdout.strip() if got.returncode == 0 else shutil.which("helm")
    if not found:
        pytest.skip(got.stderr.strip())
    return found
