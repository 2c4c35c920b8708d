from __future__ import annotations

import datetime as dt
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import mlflow
import pytest

from benchmarks.erasure_world import CUSTOMER, build_world, rename_household
from include.privacy.erase import erase
from include.privacy.proof import Erasure
from include.provenance.signature import create_keys
from include.settings import Settings
from tests.versions.world import DAYS, short_project
from tests.world import write_world

NOW = dt.datetime(2026, 12, 1, 9, 30, tzinfo=dt.UTC)
KEY = "a key for these tests only, of 44 characters"


@dataclass(frozen=True)
class World:
    """A deployment with data of every kind, and its model's version."""

    settings: Settings
    version: str

    @property
    def home(self) -> Path:
        return self.settings.home

    @property
    def landing(self) -> Path:
        return Path(self.settings.landing_uri) / self.settings.project

    def copy(self, home: Path) -> World:
        """Return a copy; MLflow's artifacts stay in the original, and an erasure does not read them."""
        shutil.copytree(self.home, home, dirs_exist_ok=True)
        return World(settings_of(home), self.version)

    def contents(self) -> dict[str, str]:
        """Return the checksum of each file, without LMDB's file of the present readers."""
        files = sorted(path for path in self.home.rglob("*") if path.is_file() and path.name != "lock.mdb")
        return {str(path.relative_to(self.home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def settings_of(home: Path) -> Settings:
    return Settings(
        home=home,
        mlflow={"tracking_uri": f"sqlite:///{home}/mlflow.db"},
        privacy={"key": KEY},
        provenance={"signing_key": home / "signing.pem", "public_key": home / "public.pem"},
    )


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Ten weeks with a trained, packaged and scored model; do not change it."""
    home = tmp_path_factory.mktemp("erasure")
    settings = settings_of(home)
    create_keys(home / "signing.pem", home / "public.pem")
    landing = Path(settings.landing_uri) / settings.project
    write_world(landing, DAYS)
    rename_household(landing, "7")
    here = Path.cwd()
    os.chdir(home)  # MLflow stores the artifacts of an SQLite store below the working directory
    mlflow.set_tracking_uri(settings.mlflow.tracking_uri)
    try:
        return World(settings, build_world(settings, short_project(), DAYS))
    finally:
        os.chdir(here)


@pytest.fixture(scope="session")
def erased(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Erasure, Path]:
    """A copy of the world after the erasure, with the file of the proof; do not change it."""
    copy = world.copy(tmp_path_factory.mktemp("erased"))
    erasure, proof = erase(copy.settings, CUSTOMER, NOW)
    return copy, erasure, proof
