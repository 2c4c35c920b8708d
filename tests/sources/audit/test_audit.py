"""The audit: figures, schema drift, and errors before any write."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from include.days import DayRange
from include.lake import Lake
from include.projects.sources import Column
from include.settings import ProjectMismatchError
from include.sources.audit import SchemaChangeError, audit_sources
from include.sources.audit.results import KnownCustomers, load_audit, load_previous_audit
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from include.sources.errors import ColumnError, MissingFileError
from tests.sources.conftest import project_of, source
from tests.world import FIRST, grocery, transactions, write_csv, write_transactions, write_world

DAYS = DayRange(FIRST, FIRST + dt.timedelta(days=5))
SECOND, THIRD = (FIRST + dt.timedelta(days=offset) for offset in (1, 2))
HEADER = "payment_id,paid_at,amount,note"
PAYMENTS = project_of(payments=source())
SHOPPING = project_of(transactions=grocery().sources["transactions"])


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    write_world(tmp_path / "landing", DAYS)
    return tmp_path / "landing"


def audit(landing: Path, lake: Lake, days: DayRange | dt.date, project=SHOPPING, **options):
    """Audit days and return the stored audit."""
    days = days if isinstance(days, DayRange) else DayRange.single(days)
    reports = landing.parent / "audits"
    audit_sources(project, lake, Connections(str(landing)), days, reports, **options)
    return stored(landing, days.last)


def stored(landing: Path, day: dt.date):
    return load_audit(landing.parent / "audits", "grocery", day)


def pay(landing: Path, day: dt.date, lines: list[str], header: str = HEADER) -> None:
    write_csv(landing, "payments", day, [header, *lines])


def paid(day: dt.date, number: int = 30, amount: str = "1.50") -> list[str]:
    return [f"{key},{day} 08:00:{key % 60:02},{amount},x" for key in range(number)]


def test_audit_figures_match_the_files(landing, lake):
    found = audit(landing, lake, DAYS, grocery()).sources
    events = found["transactions"]
    arrived = [transactions(day) for day in DAYS]
    assert events.volume.deliveries == len(DAYS)
    assert events.volume.rows == events.sample.rows == sum(rows.num_rows for rows in arrived)
    assert events.volume.bytes == sum(path.stat().st_size for path in (landing / "transactions").iterdir())
    assert events.volume.rows_per_day == round(events.volume.rows / len(DAYS), 1)
    assert (events.rhythm.median_gap_days, events.rhythm.longest_gap_days) == (1.0, 1)
    assert events.newest == max(arrived[-1]["transaction_timestamp"].to_pylist())
    assert 0 < events.age_days < 1
    assert events.column("quantity").found == "int64"
    assert (events.connector, events.authentication) == ("folder", "none: file permissions")
    assert events.duplicate_keys == 0
    quiet = found["coupon_redemptions"].volume
    assert (quiet.rows, quiet.rows_are_estimated) == (sum(day.day % 5 == 0 for day in DAYS), False)
    assert found["products"].age_days == len(DAYS) - 1
    assert found["transactions"].checks == len(grocery().checks["transactions"].expectations)
    assert "transactions" in (landing.parent / "audits" / str(DAYS.last) / "audit.html").read_text()


def test_column_completeness_uniqueness_and_readability(tmp_path, lake):
    lines = ["1,2017-01-01 08:00:00,1.5,a", "2,2017-01-01 08:00:00,,b", "3,soon,x, ", "3,2017-01-01 09:00:00,2,b"]
    pay(tmp_path / "landing", FIRST, lines)
    found = audit(tmp_path / "landing", lake, FIRST, PAYMENTS).sources["payments"]
    assert found.column("amount").completeness == 0.75
    assert found.column("amount").readable == round(2 / 3, 6)
    assert found.column("note").completeness == 0.75
    assert found.column("note").uniqueness == round(2 / 3, 6)
    assert found.column("payment_id").uniqueness == 0.75
    assert found.duplicate_keys == 1
    assert found.newest == dt.datetime.fromisoformat("2017-01-01 09:00:00")


def test_long_history_is_sampled(landing, lake, monkeypatch):
    monkeypatch.setattr("include.sources.audit.probe.SAMPLE_BYTES", 1)
    found = audit(landing, lake, DAYS).sources["transactions"]
    assert (found.sample.first, found.sample.last, found.sample.is_everything) == (DAYS.last, DAYS.last, False)
    assert found.sample.rows == transactions(DAYS.last).num_rows
    assert found.volume.rows == sum(transactions(day).num_rows for day in DAYS)
    monkeypatch.setattr("include.sources.audit.probe.SAMPLE_ROWS", 5)
    assert audit(landing, lake, DAYS).sources["transactions"].sample.rows == 5


def test_rows_of_large_files_are_estimated_from_their_size(tmp_path, lake, monkeypatch):
    monkeypatch.setattr("include.sources.audit.probe.SAMPLE_ROWS", 100)
    pay(tmp_path / "landing", FIRST, paid(FIRST, 2000))
    found = audit(tmp_path / "landing", lake, FIRST, PAYMENTS).sources["payments"].volume
    assert found.rows_are_estimated
    assert found.rows == pytest.approx(2000, rel=0.01)


def test_growth_includes_earlier_deliveries_in_bronze(landing, lake):
    earlier = DayRange(FIRST, THIRD)
    load_bronze(SHOPPING, lake, Connections(str(landing)), earlier)
    found = audit(landing, lake, DAYS.last).sources["transactions"].volume
    rows = [transactions(day).num_rows for day in [*earlier, DAYS.last]]
    assert (found.rows_per_day, found.growth_days) == (round(sum(rows) / 4, 1), 4)


def test_new_column_and_column_order_are_not_breaking(tmp_path, lake):
    landing = tmp_path / "landing"
    pay(landing, FIRST, paid(FIRST))
    pay(landing, SECOND, [f"{line},7" for line in paid(SECOND)], f"{HEADER},till")
    audit(landing, lake, FIRST, PAYMENTS)
    (change,) = audit(landing, lake, SECOND, PAYMENTS).sources["payments"].changes
    assert (change.column, change.what, change.breaking) == ("till", "is new", False)
    pay(landing, THIRD, ["7,x,1.5,2017-01-03,1"], "till,note,amount,paid_at,payment_id")
    (change,) = audit(landing, lake, THIRD, PAYMENTS).sources["payments"].changes
    assert (change.what, change.breaking) == ("are in another order", False)


def test_error_for_a_renamed_column_contains_both_names(landing, lake):
    audit(landing, lake, FIRST)
    write_transactions(landing, SECOND, transactions(SECOND).rename_columns({"quantity": "units"}))
    with pytest.raises(SchemaChangeError, match=r"'quantity' of source 'transactions' is missing; new columns: units"):
        audit(landing, lake, SECOND)
    assert lake.table_names() == []
    assert not stored(landing, SECOND).accepted
    assert "breaking" in (landing.parent / "audits" / str(SECOND) / "audit.html").read_text()


def test_missing_column_without_earlier_audit_is_a_column_error(landing, lake):
    write_transactions(landing, FIRST, transactions(FIRST).drop_columns(["quantity"]))
    with pytest.raises(ColumnError, match="has no column 'quantity'") as caught:
        audit(landing, lake, FIRST)
    assert not isinstance(caught.value, SchemaChangeError)


def retype(landing: Path, day: dt.date, column: str, kind: pa.DataType) -> None:
    rows = transactions(day)
    position = rows.column_names.index(column)
    write_transactions(landing, day, rows.set_column(position, column, rows[column].cast(kind)))


@pytest.mark.parametrize(
    ("column", "kind", "breaks"),
    [
        ("quantity", pa.int32(), False),
        ("quantity", pa.float64(), False),  # both types are numeric
        ("quantity", pa.string(), True),
        ("household_id", pa.float64(), True),  # as text, 7 and 7.0 differ
        ("transaction_timestamp", pa.date32(), True),
    ],
)
def test_incompatible_type_change_is_an_error(landing, lake, column, kind, breaks):
    audit(landing, lake, FIRST)
    retype(landing, SECOND, column, kind)
    if not breaks:
        assert [change.column for change in audit(landing, lake, SECOND).sources["transactions"].changes] == [column]
        return
    with pytest.raises(SchemaChangeError, match=f"Column '{column}' of source 'transactions' changed its type"):
        audit(landing, lake, SECOND)


def test_null_type_of_an_empty_column_is_not_a_change(landing, lake):
    for day, kind in {FIRST: pa.int64(), SECOND: pa.null(), THIRD: pa.int64(), DAYS.last: pa.string()}.items():
        rows = transactions(day)
        till = pa.nulls(rows.num_rows, kind) if kind == pa.null() else pa.array(range(rows.num_rows)).cast(kind)
        write_transactions(landing, day, rows.append_column("till", till))
    columns = SHOPPING.sources["transactions"].columns
    declared = {"columns": {**columns, "till": Column(type="string")}}
    project = project_of(transactions=SHOPPING.sources["transactions"].model_copy(update=declared))
    for day in (FIRST, SECOND, THIRD):
        assert audit(landing, lake, day, project).sources["transactions"].changes == []
    with pytest.raises(SchemaChangeError, match="from int64 to string"):
        audit(landing, lake, DAYS.last, project)


def test_mostly_unreadable_values_are_a_type_change(tmp_path, lake):
    landing = tmp_path / "landing"
    pay(landing, FIRST, paid(FIRST))
    pay(landing, SECOND, [*paid(SECOND), *paid(SECOND, 10, "one")])
    pay(landing, THIRD, paid(THIRD, amount='"1,50"'))
    audit(landing, lake, FIRST, PAYMENTS)
    audit(landing, lake, SECOND, PAYMENTS)  # a few bad rows go to quarantine
    with pytest.raises(SchemaChangeError, match="100% of its values cannot be converted to decimal"):
        audit(landing, lake, THIRD, PAYMENTS)


def test_breaking_change_fails_until_it_is_accepted(landing, lake):
    audit(landing, lake, FIRST)
    for day in (SECOND, THIRD):
        retype(landing, day, "household_id", pa.string())
        with pytest.raises(SchemaChangeError, match="--accept"):
            audit(landing, lake, day)
    assert audit(landing, lake, SECOND, accept=True).accepted
    assert audit(landing, lake, SECOND).accepted  # a retry of the DAG, without --accept
    assert audit(landing, lake, THIRD).compared_with == SECOND


def test_type_change_in_the_configuration_is_accepted(tmp_path, lake):
    landing = tmp_path / "landing"
    pay(landing, FIRST, paid(FIRST))
    pay(landing, SECOND, paid(SECOND, amount="gratis"))
    audit(landing, lake, FIRST, PAYMENTS)
    columns = {name: column.model_dump() for name, column in source().columns.items()} | {"amount": {"type": "string"}}
    assert audit(landing, lake, SECOND, project_of(payments=source(columns=columns))).accepted


def test_repeated_audit_compares_with_the_previous_day(landing, lake):
    for day in (FIRST, SECOND, THIRD, DAYS.last):
        audit(landing, lake, day)
    again = audit(landing, lake, THIRD)
    assert again.compared_with == SECOND
    assert load_previous_audit(landing.parent / "audits", "grocery", FIRST) is None
    with pytest.raises(ProjectMismatchError, match=r"audit belongs to project 'grocery'.*'other'"):
        load_previous_audit(landing.parent / "audits", "other", DAYS.last)


def test_missing_column_in_any_file_is_an_error(landing, lake):
    write_transactions(landing, SECOND, transactions(SECOND).drop_columns(["quantity"]))
    with pytest.raises(ColumnError, match=f"{SECOND}.parquet"):
        audit(landing, lake, DAYS)


def test_missing_file_fails_before_any_write(landing, lake):
    (landing / "transactions" / f"{SECOND}.parquet").unlink()
    with pytest.raises(MissingFileError, match=str(SECOND)):
        audit(landing, lake, DAYS)
    assert lake.table_names() == []


def test_damaged_earlier_audit_is_ignored(landing, lake):
    audit(landing, lake, FIRST)
    (landing.parent / "audits" / str(FIRST) / "audit.json").write_text("{")
    assert audit(landing, lake, SECOND).compared_with is None


def test_json_lines_may_omit_keys_without_a_value(tmp_path, lake):
    landing = tmp_path / "landing" / "payments"
    landing.mkdir(parents=True)
    row = {"payment_id": 1, "paid_at": "2017-01-01T08:00:00"}
    (landing / f"{FIRST}.jsonl").write_text(json.dumps(row | {"amount": 2.5}) + "\n")
    (landing / f"{SECOND}.jsonl").write_text((json.dumps(row) + "\n") * 120 + json.dumps(row | {"note": "late"}) + "\n")
    project = project_of(payments=source(files={"format": "jsonl", "path": "payments/{day}.jsonl"}))
    audit(landing.parent, lake, FIRST, project)
    found = audit(landing.parent, lake, SECOND, project).sources["payments"]
    assert [change.what for change in found.changes] == ["is new"]
    assert found.column("note").values == 1
    (landing / f"{THIRD}.jsonl").write_text(json.dumps({"payment_id": 1}) + "\n")
    with pytest.raises(SchemaChangeError, match="'paid_at' of source 'payments' is missing"):
        audit(landing.parent, lake, THIRD, project)


def test_empty_json_lines_file_is_not_a_change(tmp_path, lake):
    landing = tmp_path / "landing" / "payments"
    landing.mkdir(parents=True)
    row = {"payment_id": 1, "paid_at": "2017-01-01T08:00:00", "till": 7}
    for day, text in {FIRST: json.dumps(row) + "\n", SECOND: "", THIRD: json.dumps(row) + "\n"}.items():
        (landing / f"{day}.jsonl").write_text(text)
    files = {"format": "jsonl", "path": "payments/{day}.jsonl"}
    project = project_of(payments=source(files=files, allow_no_rows=True))
    for day in (FIRST, SECOND, THIRD):
        assert audit(landing.parent, lake, day, project).sources["payments"].changes == []


KINDS = [
    pa.int64(),
    pa.int32(),
    pa.float64(),
    pa.string(),
    pa.decimal128(9, 2),
    pa.date32(),
    pa.timestamp("us"),
    pa.null(),
]
TYPED = project_of(payments=source(files={"format": "parquet", "path": "payments/{day}.parquet"}))
CHANGED = re.compile(r"\((\d{4}-\d\d-\d\d), compared with the (audit|delivery) of (\d{4}-\d\d-\d\d)\)")


def first_refused(landing: Path, reports: Path, lake: Lake, project, ranges: list[DayRange]) -> str | None:
    """Audit ranges one after the other, and return the day that is refused."""
    for days in ranges:
        try:
            audit_sources(project, lake, Connections(str(landing)), days, reports)
        except SchemaChangeError as error:
            return CHANGED.findall(str(error))[0][0]
    return None


def require_equal_ranges(root: Path, lake: Lake, project, days: list[dt.date]) -> str | None:
    whole, single = [DayRange(days[0], days[-1])], [DayRange.single(day) for day in days]
    halves = [DayRange(days[0], days[1]), DayRange(days[2], days[-1])]
    refused = {
        first_refused(root / "landing", root / str(n), lake, project, r) for n, r in enumerate([whole, single, halves])
    }
    assert len(refused) == 1
    return refused.pop()


@pytest.mark.slow
@settings(max_examples=8, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=4, max_size=4),
    column=st.sampled_from(["note", "amount", "paid_at"]),
)
@example(kinds=[pa.int64(), pa.float64(), pa.float64(), pa.float64()], column="note")
@example(kinds=[pa.string(), pa.null(), pa.string(), pa.date32()], column="paid_at")
def test_range_is_refused_exactly_when_its_days_one_by_one_are(tmp_path_factory, kinds, column):
    root = tmp_path_factory.mktemp("world")
    (root / "landing" / "payments").mkdir(parents=True)
    days = [FIRST + dt.timedelta(days=offset) for offset in range(4)]
    for day, kind in zip(days, kinds, strict=True):
        names = ["payment_id", "paid_at", "amount", "note"]
        rows = pa.table({name: pa.nulls(2, kind if name == column else pa.int64()) for name in names})
        pq.write_table(rows, root / "landing" / "payments" / f"{day}.parquet")
    require_equal_ranges(root, Lake(str(root / "lake")), TYPED, days)


def test_range_with_changed_types_names_the_first_day(tmp_path, lake):
    (tmp_path / "landing" / "payments").mkdir(parents=True)
    days = [FIRST + dt.timedelta(days=offset) for offset in range(4)]
    for day, key in zip(days, ["7", 7, 7, "7"], strict=True):
        row = {"payment_id": key, "paid_at": None, "amount": None, "note": None}
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / "landing" / "payments" / f"{day}.parquet")
    assert require_equal_ranges(tmp_path, lake, TYPED, days) == str(SECOND)
    whole = DayRange(days[0], days[-1])
    assert audit(tmp_path / "landing", lake, whole, TYPED, accept=True).accepted
    assert audit(tmp_path / "landing", lake, whole, TYPED).accepted  # a retry of the DAG, without --accept


def test_range_with_unreadable_values_names_the_day(tmp_path, lake):
    days = [FIRST + dt.timedelta(days=offset) for offset in range(4)]
    for day, amount in zip(days, ["1.50", "1.50", "gratis", "1.50"], strict=True):
        pay(tmp_path / "landing", day, paid(day, amount=amount))
    assert require_equal_ranges(tmp_path, lake, PAYMENTS, days) == str(THIRD)


def test_null_tokens_and_missing_time_zones_are_counted(tmp_path, lake, caplog):
    lines = [
        "1,2017-01-01 08:00:00,NA,a",
        "2,2017-01-01T08:00:00Z, NA ,NULL",
        "3,2017-01-01 08:00 Europe/Berlin,N/A,na",
    ]
    pay(tmp_path / "landing", FIRST, [*lines, "4,2017-01-01,2.5,", "5,soon,1,x"])
    found = audit(tmp_path / "landing", lake, FIRST, PAYMENTS).sources["payments"]
    assert found.column("amount").null_tokens == {"N/A": 1, "NA": 2}
    assert found.column("note").null_tokens == {"NULL": 1}
    assert found.column("payment_id").null_tokens == {}
    assert found.column("amount").values == 2
    assert (found.column("paid_at").without_zone, found.column("note").without_zone) == (2, None)
    assert {record.message for record in caplog.records} >= {
        "many null tokens",
        "timestamps with and without a time zone",
    }
    page = (tmp_path / "audits" / str(FIRST) / "audit.html").read_text()
    assert "<code>NA</code>" in page
    assert "2 without a time zone" in page


PEOPLE = {"payment_id": {"type": "string", "delivered_as": "id"}, "paid_at": {"type": "timestamp"}}


def shop(**visits):
    people = source(columns=PEOPLE, customer="payment_id", kind="changes")
    files = {"format": "csv", "path": "visits/{day}.csv"}
    other = source(**{"columns": PEOPLE, "customer": "payment_id", "files": files} | visits)
    project = project_of(payments=people, visits=other)
    return project.model_copy(update={"population": project.population.model_copy(update={"source": "payments"})})


def visit(landing: Path, name: str, day: dt.date, ids: list[str]) -> None:
    write_csv(landing, name, day, ["id,paid_at", *(f"{key},{day}" for key in ids)])


def test_share_of_customers_that_the_population_contains(tmp_path, lake, caplog):
    landing = tmp_path / "landing"
    visit(landing, "payments", FIRST, ["C001", "C002", "C003"])
    visit(landing, "visits", FIRST, ["C001", "C002", "C002", "C003 ", "secret-1", "x", "NA"])
    found = audit(landing, lake, FIRST, shop()).sources
    assert found["payments"].customers is None
    assert found["visits"].customers == KnownCustomers(5, 3, ["s…1 (8 characters)", "… (1 character)"])
    assert "customers missing from the population" not in caplog.text
    folder = tmp_path / "audits" / str(FIRST)
    for file in ("audit.html", "audit.json"):
        text = (folder / file).read_text()
        assert "s…1 (8 characters)" in text
        assert "secret-1" not in text

    # The customers of earlier days count on later days; ids of type string are compared as texts.
    lake.table("silver/payments").replace(
        [FIRST], pa.table({"dt": [FIRST] * 3, "payment_id": ["C001", "C002", "C003"]})
    )
    visit(landing, "payments", SECOND, ["7"])
    visit(landing, "visits", SECOND, ["C003", "7"])
    assert audit(landing, lake, SECOND, shop()).sources["visits"].customers.share == 1
    visit(landing, "visits", SECOND, ["007", "8", "C003"])
    assert audit(landing, lake, SECOND, shop()).sources["visits"].customers == KnownCustomers(
        3, 1, ["… (3 characters)", "… (1 character)"]
    )
    assert "customers missing from the population" in caplog.text
    assert "007" not in caplog.text


def test_known_customers_cover_all_rows_of_the_population(tmp_path, lake, monkeypatch):
    monkeypatch.setattr("include.sources.audit.probe.SAMPLE_ROWS", 5)
    landing = tmp_path / "landing"
    for day in (FIRST, SECOND):
        visit(landing, "payments", day, [f"{day.day}-{number}" for number in range(20)])
        visit(landing, "visits", day, [f"{day.day}-{number}" for number in range(19, 16, -1)])
    found = audit(landing, lake, DayRange(FIRST, SECOND), shop()).sources["visits"].customers
    assert (found.ids, found.known) == (5, 5)


def test_audits_without_the_newer_figures_can_be_compared(tmp_path, lake):
    pay(tmp_path / "landing", FIRST, paid(FIRST))
    pay(tmp_path / "landing", SECOND, paid(SECOND, amount="gratis"))
    audit(tmp_path / "landing", lake, FIRST, PAYMENTS)
    file = tmp_path / "audits" / str(FIRST) / "audit.json"
    content = json.loads(file.read_text())
    for item in content["sources"].values():
        del item["rows_outside_time"], item["customers"]
        for column in item["columns"]:
            del column["null_tokens"], column["without_zone"]
    file.write_text(json.dumps(content))
    with pytest.raises(SchemaChangeError, match=f"compared with the audit of {FIRST}"):
        audit(tmp_path / "landing", lake, SECOND, PAYMENTS)
