from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
import pytest

from benchmarks.erasure_world import CUSTOMER
from include.backup.create import Backup, create
from include.drills import TESTS, DrillRecord, write_drill
from include.privacy.requests import register
from include.settings import ROOT, BackupSettings, Settings
from local.postgres import add_client_programs, database_url
from tests.privacy.conftest import World, settings_of
from tests.privacy.conftest import world as built_world

__all__ = ["built_world"]

NOW = dt.datetime(2026, 12, 1, 9, 30, tzinfo=dt.UTC)


@pytest.fixture(scope="session")
def world(built_world: World, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A deployment with data at every place; do not change it."""
    copy = built_world.copy(tmp_path_factory.mktemp("world"))
    register(copy.settings, CUSTOMER)
    write_drill(copy.home, DrillRecord(drill=TESTS, carried_out=NOW, passed=True))
    copy.settings.lineage_dir.mkdir(parents=True)
    (copy.settings.lineage_dir / "event-1.json").write_text("{}")
    return copy


@pytest.fixture(scope="session")
def backup(world: World, tmp_path_factory: pytest.TempPathFactory) -> Backup:
    """A backup of the world; do not change it."""
    return create(world.settings, tmp_path_factory.mktemp("backups"), NOW)


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server."""

    host: str

    def execute(self, database: str, *statements: str) -> None:
        """Run statements outside a transaction."""
        with closing(psycopg2.connect(host=self.host, user="postgres", dbname=database)) as connection:
            connection.autocommit = True
            for statement in statements:
                connection.cursor().execute(statement)

    def databases(self) -> set[str]:
        """Return the names of the databases that tests have created."""
        with closing(psycopg2.connect(host=self.host, user="postgres", dbname="postgres")) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT datname FROM pg_database WHERE datname ~ 'airflow|mlflow'")
            return {row[0] for row in cursor.fetchall()}

    def settings(self, home: Path) -> Settings:
        """Return the settings of a deployment with both databases on this server."""
        urls = {name: database_url(self.host, name) for name in ("airflow", "mlflow")}
        return settings_of(home).model_copy(
            update={
                "backup": BackupSettings.model_validate({f"{name}_database": url for name, url in urls.items()}),
            }
        )


@pytest.fixture
def server(postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server with two databases that have some rows."""
    monkeypatch.setenv("PATH", add_client_programs())
    found = Server(postgres_server)
    for name in ("airflow", "mlflow"):
        found.execute("postgres", f"CREATE DATABASE {name}")
        found.execute(
            name,
            "CREATE TABLE runs (id serial PRIMARY KEY, name text UNIQUE, at timestamptz DEFAULT now(), content jsonb)",
            "INSERT INTO runs (name, content) SELECT current_database() || n, '{}' FROM generate_series(1, 500) AS n",
        )
    yield found
    for name in ("airflow", "mlflow"):
        found.execute("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def run_until(event: str, number: int, settings: Settings, *arguments: object) -> int:
    """Run a command in a process that kills itself at an audit event, and return the exit status.

    Args:
        event: The event, such as ``os.rename``.
        number: The number of the event in the process, from 1.
        settings: The deployment.
        arguments: The arguments of ``python -m include.backup``.
    """
    command = [sys.executable, "-m", "tests.backup.killed", event, str(number), *map(str, arguments)]
    backup = settings.backup
    environment = os.environ | {
        "CHURN_HOME": str(settings.home),
        "CHURN_MLFLOW__TRACKING_URI": settings.mlflow.tracking_uri,
        "CHURN_BACKUP__AIRFLOW_DATABASE": backup.airflow_database.get_secret_value(),
        "CHURN_BACKUP__MLFLOW_DATABASE": backup.mlflow_database.get_secret_value(),
    }
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False).returncode
