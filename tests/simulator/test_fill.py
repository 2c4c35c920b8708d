from __future__ import annotations

import traceback
from pathlib import Path

import psycopg2.extensions
import pytest
from typer.testing import CliRunner

from local.postgres import database_url
from simulator import Injection, generate
from simulator.__main__ import app
from simulator.fill import FillError, fill
from simulator.generate import LANDING
from tests.simulator.worlds import TINY, day, read

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(postgres_server: str) -> str:
    """The URL of a PostgreSQL database."""
    # The wait callback of include/sources, which a test in the same process may have set, does not permit COPY.
    psycopg2.extensions.set_wait_callback(None)
    return database_url(postgres_server, "postgres")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("world")
    generate(out, TINY, day(9), (Injection(kind="late_events", from_day=day(3), strength=0.3),))
    return out


def fetch(url: str, query: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url.replace("postgresql+psycopg2://", "postgresql://"))
    try:
        with connection.cursor() as at:
            at.execute(query)
            return at.fetchall()
    finally:
        connection.close()


def test_repeated_command_loads_every_row_once(url: str, world: Path, monkeypatch) -> None:
    monkeypatch.setenv("SHOP_DATABASE", url)
    for _ in range(2):
        done = CliRunner().invoke(app, ["fill", "--out", str(world), "--database-url-env", "SHOP_DATABASE"])
        assert done.exit_code == 0, done.output
        assert done.stdout.startswith("shop: ")  # progress goes to standard error on a slow machine
    for source in ("customers", "transactions", "sessions", "support_tickets"):
        assert fetch(url, f"SELECT count(*) FROM shop.{source}") == [(len(read(world, source)),)]  # noqa: S608
    money = read(world, "transactions")["amount"].sum()
    assert fetch(url, "SELECT sum(amount) FROM shop.transactions") == [(money,)]


def test_written_at_is_the_day_of_the_file(url: str, world: Path) -> None:
    fill(world / LANDING, url, "by_day")
    late = fetch(url, "SELECT count(*) FROM by_day.sessions WHERE written_at::date - started_at::date = 3")
    assert late[0][0] > 0  # type: ignore[operator]
    on_day = fetch(url, "SELECT count(*) FROM by_day.sessions WHERE written_at::date = '2023-01-08'")
    assert on_day == [(len(read(world, "sessions", day(7))),)]


def test_tables_follow_schema_changes(url: str, tmp_path: Path) -> None:
    changes = (
        Injection(kind="column_added", from_day=day(4)),
        Injection(kind="column_retyped", from_day=day(6)),
        Injection(kind="missing_values", from_day=day(2), strength=0.5),
    )
    generate(tmp_path, TINY, day(8), changes)
    fill(tmp_path / LANDING, url, "changing")
    query = "SELECT count(*), count(app_version), count(duration_s) FROM changing.sessions"
    rows = read(tmp_path, "sessions")
    assert fetch(url, query) == [(len(rows), rows["app_version"].notna().sum(), rows["duration_s"].notna().sum())]
    assert fetch(url, "SELECT count(*) FROM changing.sessions WHERE duration_s LIKE '% s'")[0][0] > 0  # type: ignore[operator]


@pytest.mark.parametrize("address", ["postgresql://me:hunter2@127.0.0.1:1/shop", "me:hunter2 at 127.0.0.1"])
def test_connection_error_contains_no_secret(world: Path, address: str) -> None:
    with pytest.raises(FillError, match="Remedy") as caught:
        fill(world / LANDING, address, "shop")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_folder_without_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FillError, match="no landing files"):
        fill(tmp_path, "postgresql://127.0.0.1:1/shop", "shop")
