"""The databases of Airflow and MLflow on a real server: dump, load, replacement, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import psycopg2
import pytest

from include.backup.contents import read_backup
from include.backup.create import create
from include.backup.databases import databases
from include.backup.errors import DatabaseError, NotEmptyError
from include.backup.restore import restore
from include.settings import BackupSettings, Settings
from tests.backup.conftest import NOW, Server, run_until
from tests.privacy.conftest import settings_of

pytestmark = pytest.mark.slow


def content(settings: Settings) -> dict[str, dict[str, tuple[int, str]]]:
    return {database.name: database.tables() for database in databases(settings)}


def test_databases_are_restored_row_for_row(server: Server, tmp_path: Path) -> None:
    settings = server.settings(tmp_path / "home")
    before = content(settings)
    made = create(settings, tmp_path / "backups", NOW)
    assert made.manifest.databases == ("airflow", "mlflow")
    server.execute("postgres", "DROP DATABASE airflow")
    server.execute("mlflow", "DELETE FROM runs WHERE id > 7", "CREATE TABLE later (id int)")
    with pytest.raises(NotEmptyError, match="database mlflow"):
        restore(settings, made.folder)
    restore(settings, made.folder, replace=True)
    assert content(settings) == before
    # Sequences and constraints are restored, too.
    server.execute("airflow", "INSERT INTO runs (name) VALUES ('new')")
    with pytest.raises(psycopg2.errors.UniqueViolation):
        server.execute("airflow", "INSERT INTO runs (name) VALUES ('new')")
    assert server.databases() == {"airflow", "mlflow"}


def test_database_in_use_is_not_replaced(server: Server, tmp_path: Path) -> None:
    settings = server.settings(tmp_path / "home")
    made = create(settings, tmp_path / "backups", NOW)
    connection = psycopg2.connect(host=server.host, user="postgres", dbname="airflow")
    try:
        with pytest.raises(DatabaseError, match="1 connections use the database airflow"):
            restore(settings, made.folder, replace=True)
    finally:
        connection.close()
    assert not settings.unfinished_restore.exists()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_killed_restore_of_databases_is_completed_by_a_repetition(server: Server, tmp_path: Path, number: int) -> None:
    settings = server.settings(tmp_path / "home")
    (settings.home / "drills").mkdir(parents=True)
    (settings.home / "drills" / "tests.json").touch()
    before = content(settings)
    made = create(settings, tmp_path / "backups", NOW)
    server.execute("mlflow", "DELETE FROM runs")
    assert run_until("os.rename", number, settings, "restore", "--from", made.folder, "--replace") == -9
    restore(settings, made.folder, replace=True)
    assert content(settings) == before
    assert server.databases() == {"airflow", "mlflow"}


def test_password_is_in_no_error_and_no_file(server: Server, tmp_path: Path) -> None:
    url = f"postgresql+psycopg2://postgres:secret-word@/absent?host={server.host}"
    settings = settings_of(tmp_path).model_copy(
        update={"backup": BackupSettings.model_validate({"mlflow_database": url})}
    )
    with pytest.raises(DatabaseError) as raised:
        create(settings, tmp_path / "backups", NOW)
    assert "absent" in str(raised.value)
    assert "secret-word" not in f"{raised.value} {settings!r}"
    made = create(server.settings(tmp_path), tmp_path / "backups", NOW)
    assert b"postgresql" not in (made.folder / "manifest.json").read_bytes()


def test_missing_variables_are_named(server: Server, tmp_path: Path) -> None:
    settings = server.settings(tmp_path / "home")
    made = create(settings, tmp_path / "backups", NOW)
    assert read_backup(made.folder, settings.project) == made.manifest
    with pytest.raises(DatabaseError, match="CHURN_BACKUP__AIRFLOW_DATABASE"):
        restore(settings_of(tmp_path / "other"), made.folder)
    with pytest.raises(DatabaseError, match="CHURN_BACKUP__MLFLOW_DATABASE"):
        create(Settings(home=tmp_path / "home"), tmp_path / "others", NOW)


def test_client_programs_are_required(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("pg_dump") is None
    with pytest.raises(DatabaseError, match="pg_dump is not installed"):
        create(server.settings(tmp_path / "home"), tmp_path / "backups", NOW)
