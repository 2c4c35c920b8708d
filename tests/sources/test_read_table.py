"""Tables of a PostgreSQL server, including its failures."""

from __future__ import annotations

import datetime as dt
import logging
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
import sqlalchemy as sa
from pydantic import SecretStr, ValidationError

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import DELIVERIES_TABLE
from include.local_files import DiskFullError
from include.settings import DatabaseTimeouts
from include.sources import database, read_table
from include.sources.audit import SchemaChangeError, audit_sources
from include.sources.audit.results import load_audit
from include.sources.bronze import load_bronze
from include.sources.bronze_tables import delivered_days
from include.sources.connections import Connections
from include.sources.errors import ColumnError, ConnectionLostError, DatabaseError, NoRowsError, SourceConnectionError
from local.postgres import database_url
from tests.postgres import running_postgres
from tests.sources.conftest import largest_file, project_of, source

pytestmark = pytest.mark.slow

FIRST = dt.date(2024, 3, 1)
SECOND = FIRST + dt.timedelta(days=1)
DAYS = DayRange(FIRST, SECOND)
TABLE = {"connection": "shop", "table": "shop.payments", "watermark": "written_at"}
PASSWORD = "pass/word-that-must-stay-secret"

SCHEMA = """
DROP SCHEMA IF EXISTS shop CASCADE;
CREATE SCHEMA shop;
CREATE TABLE shop.payments (
    payment_id bigint, paid_at timestamp, amount numeric(10, 2), note text, card text, written_at timestamptz
);
INSERT INTO shop.payments VALUES
    (3, '2024-03-01 10:00', 7.10, 'evening in New York', 'secret', '2024-03-01 23:59:59.999999+00'),
    (2, '2024-03-01 09:00', NULL, NULL, 'secret', '2024-03-01 09:00:01+00'),
    (1, '2024-03-01 09:00', 5.00, 'ä "quoted", with a comma', 'secret', '2024-03-01 09:00:01+00'),
    (4, '2024-03-02 00:00', 1.00, 'midnight belongs to the day that begins', 'secret', '2024-03-02 00:00:00+00'),
    (5, '2024-03-03 00:00', 1.00, 'the day after', 'secret', '2024-03-03 00:00:00+00'),
    (0, '2024-02-29 20:00', 1.00, 'the day before, by UTC', 'secret', '2024-03-01 00:30:00+02'),
    (9, '2024-03-01 20:00', 1.00, 'in no day', 'secret', NULL);
"""


@pytest.fixture
def server(postgres_server: str) -> str:
    return postgres_server


def run(host: str, statement: str) -> None:
    connection = psycopg2.connect(host=host, user="postgres", dbname="postgres")
    connection.autocommit = True
    connection.cursor().execute(statement)
    connection.close()


@pytest.fixture
def shop(server: str) -> Connections:
    run(server, SCHEMA)
    return Connections("nowhere", {"shop": SecretStr(database_url(server, "postgres"))})


def payments(**overrides):
    return project_of(payments=source(**{"files": None, "database": TABLE} | overrides))


def load(lake: Lake, connections: Connections, days: DayRange = DAYS, **overrides: object) -> list[dict]:
    load_bronze(payments(**overrides), lake, connections, days)
    return rows(lake, days)


def rows(lake: Lake, days: DayRange = DAYS) -> list[dict]:
    return lake.table("bronze/payments").read(days).sort_by([("dt", "ascending"), ("_row", "ascending")]).to_pylist()


def test_rows_are_assigned_to_days_by_watermark_and_have_a_fixed_order(lake, shop):
    found = load(lake, shop)
    assert [(row["dt"], row["_row"], row["payment_id"]) for row in found] == [
        (FIRST, 1, "1"),
        (FIRST, 2, "2"),
        (FIRST, 3, "3"),
        (SECOND, 1, "4"),
    ]
    assert found[0] == {
        "payment_id": "1",
        "paid_at": "2024-03-01 09:00:00",
        "amount": "5.00",
        "note": 'ä "quoted", with a comma',
        "_undeclared": None,
        "_file": "shop.payments@2024-03-01",
        "_row": 1,
        "dt": FIRST,
    }
    assert found[1]["amount"] is None
    known = lake.table(DELIVERIES_TABLE).read(DAYS).sort_by("dt").to_pylist()
    assert [(row["file"], row["bytes"], row["rows"]) for row in known] == [
        ("shop.payments@2024-03-01", None, 3),
        ("shop.payments@2024-03-02", None, 1),
    ]


def test_rows_do_not_depend_on_range_or_chunk_size(tmp_path, shop, monkeypatch):
    together, alone, chunks = (Lake(str(tmp_path / name)) for name in ("a", "b", "c"))
    load(together, shop)
    for day in reversed(list(DAYS)):
        load(alone, shop, DayRange.single(day))
    monkeypatch.setattr(read_table, "CHUNK_ROWS", 1)
    load(chunks, shop)
    assert rows(together) == rows(alone) == rows(chunks)


def test_day_without_rows_needs_allow_no_rows(lake, shop):
    quiet = DayRange.single(dt.date(2024, 5, 1))
    with pytest.raises(NoRowsError, match=r"shop\.payments@2024-05-01"):
        load(lake, shop, quiet)
    assert load(lake, shop, quiet, allow_no_rows=True) == []
    assert delivered_days(lake, "payments", quiet) == set(quiet)


@pytest.mark.parametrize("kind", ["timestamp", "date"])
def test_watermark_without_time_zone_is_utc(lake, shop, server, kind):
    run(server, f"ALTER TABLE shop.payments ALTER written_at TYPE {kind} USING (written_at AT TIME ZONE 'UTC')::{kind}")
    run(server, "ALTER ROLE postgres SET timezone = 'America/New_York'")
    try:
        found = load(lake, shop)
    finally:
        run(server, "ALTER ROLE postgres RESET timezone")
    assert sorted((row["dt"], row["payment_id"]) for row in found) == [
        (FIRST, "1"),
        (FIRST, "2"),
        (FIRST, "3"),
        (SECOND, "4"),
    ]


@pytest.mark.parametrize(
    ("kind", "zone", "written"),
    [
        ("timestamptz", "UTC", "2024-03-01 01:00+09"),
        ("timestamp", "Asia/Tokyo", "2024-03-01 01:00"),
        ("timestamp", "UTC", "2024-02-29 16:00"),
        ("date", "UTC", "2024-03-01"),
    ],
)
def test_days_are_business_days(lake, shop, server, kind, zone, written):
    """Watermarks have an offset, are in the source's time zone, or are business days."""
    run(server, f"ALTER TABLE shop.payments ALTER written_at TYPE {kind} USING ('{written}'::{kind})")
    before, after = (DayRange.single(FIRST + dt.timedelta(days=offset)) for offset in (-1, 1))
    project = payments(timezone=zone, allow_no_rows=True).model_copy(update={"timezone": "Asia/Tokyo"})
    for days in (before, DayRange.single(FIRST), after):
        load_bronze(project, lake, shop, days)
    assert {row["dt"] for row in rows(lake, DayRange(before.first, after.last))} == {FIRST}
    reports = lake.uri + "-audits"
    audited = audit_sources(project, lake, shop, DayRange(before.first, after.last), Path(reports))
    assert audited["sources"]["payments"]["rows"] == 7
    newest = load_audit(Path(reports), "grocery", after.last).sources["payments"].newest
    assert newest == dt.datetime.fromisoformat("2024-02-29 15:00" if kind == "date" else "2024-02-29 16:00")


def test_business_days_follow_daylight_saving_time(lake, shop, server):
    """Berlin's 2024-03-31 has 23 hours, from 23:00 to 22:00 in UTC."""
    run(
        server,
        "UPDATE shop.payments SET written_at = '2024-03-30 20:30+00'::timestamptz + payment_id * interval '2.5 hours'",
    )
    project = payments(allow_no_rows=True).model_copy(update={"timezone": "Europe/Berlin"})
    days = DayRange.parse("2024-03-30", "2024-04-01")
    load_bronze(project, lake, shop, days)
    local = {row["payment_id"]: row["dt"].day for row in rows(lake, days)}
    assert local == {"0": 30, "1": 31, "2": 31, "3": 31, "4": 31, "5": 31, "9": 31}


ODD_TIMES = ["infinity", "-infinity", "0044-03-15 BC", "12000-01-01"]


def test_infinite_and_ancient_times_are_text_and_never_load_a_row(lake, shop, server):
    run(server, "ALTER TABLE shop.payments ADD day date")
    for odd in ODD_TIMES:
        given = f"(6, '{odd}', 1, '', '', '2024-03-01 10:00', '{odd}'), (8, '2024-03-01', 1, '', '', '{odd}', NULL)"
        run(server, f"INSERT INTO shop.payments VALUES {given}")  # noqa: S608
    columns = source().model_dump(exclude_unset=True)["columns"] | {"day": {"type": "date"}}
    found = [row for row in load(lake, shop, columns=columns) if row["payment_id"] in ("6", "8")]
    texts = ["-infinity", "0044-03-15 BC", "12000-01-01", "infinity"]
    assert sorted(row["day"] for row in found) == texts
    assert sorted(row["paid_at"].replace(" 00:00:00", "") for row in found) == texts
    reports = Path(lake.uri + "-audits")
    audit_sources(payments(), lake, shop, DAYS, reports)
    audit = load_audit(reports, "grocery", SECOND).sources["payments"]
    assert audit.rows_outside_time == len(ODD_TIMES) + 1
    assert audit.newest == dt.datetime.fromisoformat("2024-03-02 00:00")
    run(server, "DELETE FROM shop.payments WHERE isfinite(written_at) AND written_at > '2000-01-01'")
    audit_sources(payments(), lake, shop, DAYS, reports)
    assert load_audit(reports, "grocery", SECOND).sources["payments"].newest is None


def test_floats_are_exact(lake, shop, server):
    run(server, "ALTER TABLE shop.payments ALTER amount TYPE double precision")
    run(
        server,
        "UPDATE shop.payments SET amount = CASE payment_id WHEN 1 THEN 36.9 ELSE 0.1::float8 + 0.2::float8 END",
    )
    run(server, "ALTER ROLE postgres SET extra_float_digits = -3")
    try:
        found = {row["payment_id"]: row["amount"] for row in load(lake, shop)}
    finally:
        run(server, "ALTER ROLE postgres RESET extra_float_digits")
    assert (found["1"], found["2"]) == ("36.9", "0.30000000000000004")


def test_columns_have_their_names_in_the_table(lake, shop, server):
    run(
        server,
        'ALTER TABLE shop.payments RENAME amount TO "Amount "; ALTER TABLE shop.payments RENAME payment_id TO id',
    )
    columns = source().model_dump(exclude_unset=True)["columns"]
    columns["amount"]["delivered_as"], columns["payment_id"]["delivered_as"] = "Amount ", "id"
    assert load(lake, shop, columns=columns)[0]["amount"] == "5.00"
    reports = Path(lake.uri + "-audits")
    audit_sources(payments(columns=columns), lake, shop, DAYS, reports)
    audit = load_audit(reports, "grocery", SECOND).sources["payments"]
    assert audit.undeclared == ["card", "written_at"]
    assert (audit.column("Amount ").declared, audit.column("Amount ").completeness) == ("decimal", 0.75)


STATE = {"kind": "snapshot", "event_time": None, "database": {"connection": "shop", "table": "shop.payments"}}


def test_snapshot_sees_deletes_and_back_dated_updates_and_keeps_past_states(lake, shop, server, tmp_path):
    first, both = DayRange.single(FIRST), DayRange(FIRST, SECOND)
    before = load(lake, shop, first, **STATE)
    assert [row["payment_id"] for row in before] == ["0", "1", "2", "3", "4", "5", "9"]
    assert [row["_row"] for row in before] == list(range(1, 8))
    run(
        server,
        "DELETE FROM shop.payments WHERE payment_id = 1; UPDATE shop.payments SET note = 'late' WHERE payment_id = 2",
    )
    assert load(lake, shop, first, **STATE) == before
    after = load(lake, shop, both, **STATE)
    assert [row for row in after if row["dt"] == FIRST] == before
    notes = {row["payment_id"]: row["note"] for row in after if row["dt"] == SECOND}
    assert "1" not in notes
    assert notes["2"] == "late"
    assert delivered_days(lake, "payments", both) == set(both)
    audit_sources(payments(**STATE), lake, shop, both, tmp_path / "audits")
    audit = load_audit(tmp_path / "audits", "grocery", SECOND).sources["payments"]
    assert (audit.volume.rows, audit.volume.deliveries, audit.rhythm.latest, audit.age_days) == (6, 1, SECOND, 0)
    run(server, "DELETE FROM shop.payments")
    with pytest.raises(NoRowsError):
        load(lake, shop, DayRange.single(SECOND + dt.timedelta(days=1)), **STATE)
    assert load(lake, shop, both, **STATE) == after


@pytest.mark.parametrize("wrong", [STATE | {"database": TABLE}, {"database": STATE["database"]}])
def test_snapshot_has_no_watermark_and_other_kinds_have_one(wrong):
    with pytest.raises(ValidationError, match="watermark is required for kind events or changes, and not allowed"):
        payments(**wrong)


def test_missing_tables_columns_and_permissions_are_not_retried(lake, shop, server, monkeypatch):
    monkeypatch.setattr(database.SourceDatabase, "_log_retry", lambda *_: pytest.fail("retried"))
    load(lake, shop)
    before = lake.table("bronze/payments").version()
    with pytest.raises(DatabaseError, match=r"no table shop\.refunds"):
        load(lake, shop, database=TABLE | {"table": "shop.refunds"})
    with pytest.raises(DatabaseError, match="watermark 'note' is of type TEXT"):
        load(lake, shop, database=TABLE | {"watermark": "note"})
    with pytest.raises(SourceConnectionError, match="CHURN_DATABASES__SHOP"):
        load(lake, Connections("nowhere"))
    run(server, "ALTER TABLE shop.payments RENAME COLUMN amount TO total")
    with pytest.raises(ColumnError, match="amount"):
        load(lake, shop)
    run(server, "ALTER TABLE shop.payments RENAME COLUMN total TO amount")
    run(server, "DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN; GRANT USAGE ON SCHEMA shop TO guest")
    guest = shop.database_url("shop").get_secret_value().replace("postgres@", "guest@")
    with pytest.raises(DatabaseError, match="permission denied"):
        load(lake, Connections("nowhere", {"shop": SecretStr(guest)}))
    assert lake.table("bronze/payments").version() == before


def fill(server: str) -> None:
    # The rows exceed the socket buffers, so the server is still sending when its session is terminated.
    run(
        server,
        "INSERT INTO shop.payments SELECT 100 + n, '2024-03-01', n, repeat('x', 500), '', '2024-03-01 12:00+00'"
        " FROM generate_series(1, 20000) n",
    )


@contextmanager
def cut(server: str, monkeypatch: pytest.MonkeyPatch, times: int) -> Iterator[list[dt.datetime]]:
    """Terminate the reading session after the first chunk, in the first ``times`` attempts."""
    done: list[dt.datetime] = []
    batch = read_table._batch

    def batch_and_cut(table, rows, numbers, schema):
        if len(done) < times and not any(numbers.values()):
            done.append(dt.datetime.now(dt.UTC))
            others = "backend_type = 'client backend' AND pid <> pg_backend_pid()"
            run(server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")  # noqa: S608
        return batch(table, rows, numbers, schema)

    with monkeypatch.context() as patch:
        patch.setattr(read_table, "CHUNK_ROWS", 1000)
        patch.setattr(read_table, "_batch", batch_and_cut)
        yield done


def test_lost_connection_is_retried(lake, shop, server, monkeypatch, caplog):
    fill(server)
    with cut(server, monkeypatch, times=2) as cuts:
        found = load(lake, shop)
    assert len(cuts) == 2
    assert len(found) == len({row["payment_id"] for row in found}) == 20_004
    assert [row["_row"] for row in found if row["dt"] == FIRST] == list(range(1, 20_004))
    assert [record.message for record in caplog.records].count("database connection lost") == 2


def test_connection_lost_in_every_attempt_leaves_bronze_unchanged(lake, shop, server, monkeypatch):
    load(lake, shop)
    before = rows(lake)
    fill(server)
    monkeypatch.setattr(database, "ATTEMPTS", 2)
    with cut(server, monkeypatch, times=2), pytest.raises(ConnectionLostError, match="does not answer"):
        load(lake, shop)
    assert rows(lake) == before


def test_read_is_one_consistent_snapshot(lake, shop, server, monkeypatch):
    fill(server)
    batch = read_table._batch

    def batch_and_delete(*arguments):
        run(server, "DELETE FROM shop.payments")
        return batch(*arguments)

    monkeypatch.setattr(read_table, "CHUNK_ROWS", 1000)
    monkeypatch.setattr(read_table, "_batch", batch_and_delete)
    assert len(load(lake, shop)) == 20_004


def test_full_temporary_disk_leaves_bronze_unchanged(lake, shop, server):
    before = load(lake, shop)
    fill(server)
    with largest_file(1_000_000), pytest.raises(DiskFullError, match="Free some space"):
        load(lake, shop)
    assert rows(lake) == before


def test_reloaded_changes_keep_overwritten_versions(lake, shop, server):
    changes = {"kind": "changes", "allow_no_rows": True}
    before = load(lake, shop, DayRange.single(FIRST), **changes)
    run(server, "UPDATE shop.payments SET note = 'paid back', written_at = '2024-03-02 10:00+00' WHERE payment_id = 1")
    run(server, "UPDATE shop.payments SET note = 'corrected' WHERE payment_id = 2")
    found = [load(lake, shop, **changes) for _ in range(2)]
    assert found[0] == found[1]
    days = {(row["dt"], row["payment_id"]): row["note"] for row in found[0]}
    assert len(days) == len(found[0]) == 5
    assert days[FIRST, "1"] == before[0]["note"]
    assert days[SECOND, "1"] == "paid back"
    assert days[FIRST, "2"] == "corrected"
    assert [row["_row"] for row in found[0] if row["dt"] == FIRST] == [1, 2, 3]
    run(server, "DELETE FROM shop.payments")
    assert len(load(lake, shop, **changes)) == 5


def test_unreachable_server_is_an_error_without_secrets(lake, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(database, "ATTEMPTS", 2)
    url = f"postgresql+psycopg2://app:{PASSWORD.replace('/', '%2F')}@127.0.0.1:9/shop"
    with pytest.raises(ConnectionLostError) as caught:
        load(lake, Connections("nowhere", {"shop": SecretStr(url)}))
    assert "shop (postgresql 127.0.0.1/shop)" in str(caught.value)
    assert "Connection refused" in str(caught.value)
    assert lake.table_names() == []
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text
    assert PASSWORD not in shown


@pytest.mark.parametrize(
    "url", [f"postgresql://app:{PASSWORD}@host:port/x", f"oracle+nothing://app:{PASSWORD}@h/x", PASSWORD]
)
def test_error_for_an_invalid_url_does_not_contain_the_url(lake, url):
    with pytest.raises(SourceConnectionError) as caught:
        load(lake, Connections("nowhere", {"shop": SecretStr(url)}))
    shown = "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in shown
    assert PASSWORD.split("/")[1] not in shown


def test_missing_answer_of_a_server_is_an_error_after_the_time_out(
    shop: Connections,
) -> None:
    timeouts = DatabaseTimeouts(connect_seconds=0.2, answer_seconds=0.2)
    unanswered = pytest.raises(ConnectionLostError, match=r"no answer within 0\.2 s")
    impatient = Connections("nowhere", shop.databases, timeouts)
    with unanswered, database.SourceDatabase("shop", impatient).connect() as connection:
        connection.execute(sa.text("SELECT pg_sleep(60)"))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never answers
        url = SecretStr(f"postgresql+psycopg2://app@127.0.0.1:{silent.getsockname()[1]}/shop")
        frozen = database.SourceDatabase("shop", Connections("nowhere", {"shop": url}, timeouts))
        with pytest.raises(ConnectionLostError, match=r"no answer within 0\.2 s"), frozen.connect():
            pass


def test_refused_connection_is_not_retried(server: str) -> None:
    refused = database.SourceDatabase("shop", Connections("nowhere", {"shop": SecretStr(database_url(server, "gone"))}))
    with pytest.raises(SourceConnectionError, match=r'refuses the connection.*"gone" does not exist'):
        refused.fetch(sa.text("SELECT 1"))


def test_stopped_server_leaves_bronze_unchanged(lake: Lake, monkeypatch):
    monkeypatch.setattr(database, "ATTEMPTS", 2)
    with running_postgres() as host:
        run(host, SCHEMA)
        connections = Connections("nowhere", {"shop": SecretStr(database_url(host, "postgres"))})
        before = load(lake, connections)
    with pytest.raises(ConnectionLostError, match="does not answer"):
        load(lake, connections)
    assert rows(lake) == before


def test_audit_of_a_table_detects_schema_drift(lake, shop, server, tmp_path):
    reports = tmp_path / "audits"
    audit_sources(payments(), lake, shop, DayRange.single(FIRST), reports)
    found = load_audit(reports, "grocery", FIRST).sources["payments"]
    assert (found.connector, found.volume.rows, found.sample.rows) == ("database (postgresql)", 3, 3)
    assert found.newest == dt.datetime.fromisoformat("2024-03-01 23:59:59.999999")
    assert found.undeclared == ["card", "written_at"]
    assert found.column("amount").found == "NUMERIC(10, 2)"
    assert found.column("note").completeness == round(2 / 3, 6)
    assert (found.authentication, found.duplicate_keys) == ("socket, as the operating system's user", 0)
    run(server, "ALTER TABLE shop.payments ALTER amount TYPE text")
    with pytest.raises(SchemaChangeError, match=r"'amount' of source 'payments' changed its type from NUMERIC"):
        audit_sources(payments(), lake, shop, DayRange.single(SECOND), reports)
    run(server, "ALTER TABLE shop.payments DROP COLUMN amount")
    with pytest.raises(SchemaChangeError, match="'amount' of source 'payments' is missing"):
        audit_sources(payments(), lake, shop, DayRange.single(SECOND), reports)
