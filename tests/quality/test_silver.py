import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from include.days import DayRange
from include.lake import Lake
from include.projects import Checks, Expectation
from include.quality.gate import GateError
from include.quality.suite import SuiteError
from tests.world import FIRST, grocery, ingest, transactions, write_csv, write_transactions, write_world

pytestmark = pytest.mark.slow  # the first check imports Great Expectations

DAYS = DayRange(FIRST, FIRST + dt.timedelta(days=2))
DAY = FIRST + dt.timedelta(days=1)


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    write_world(tmp_path / "landing", DAYS)
    return tmp_path / "landing"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def lenient():
    """The grocery project with a lenient gate, for small days with some invalid rows."""
    project = grocery()
    checks = {**project.checks}
    checks["transactions"] = checks["transactions"].model_copy(update={"minimum_pass_share": 0.5})
    checks["coupon_redemptions"] = checks["coupon_redemptions"].model_copy(update={"minimum_pass_share": 0.0})
    return project.model_copy(update={"checks": checks})


def test_silver_is_typed_and_idempotent(landing, lake, tmp_path):
    ingest(grocery(), lake, landing, DAYS, tmp_path / "reports")
    names = lake.table_names()
    before = {name: lake.table(name).read(DAYS) for name in names}
    types = dict(
        zip(before["silver/transactions"].column_names, before["silver/transactions"].schema.types, strict=True)
    )
    assert types["sales_value"] == pa.decimal128(18, 4)
    assert types["quantity"] == pa.int64()
    assert pa.types.is_timestamp(types["transaction_timestamp"])
    ingest(grocery(), lake, landing, DAYS, tmp_path / "reports")
    for name in names:
        order = [(column, "ascending") for column in before[name].column_names]
        assert lake.table(name).read(DAYS).sort_by(order).equals(before[name].sort_by(order)), name


def test_quarantine_contains_refused_rows_with_their_rules(landing, lake, tmp_path):
    good = transactions(DAY)
    rows = good.to_pylist()
    late = {
        **rows[0],
        "basket_id": 1,
        "transaction_timestamp": dt.datetime.combine(DAY, dt.time()) + dt.timedelta(days=1),
    }
    huge = {**rows[0], "basket_id": 2, "sales_value": 5000.0}
    text = [{key: str(value) for key, value in row.items()} for row in [*rows, rows[0], late, huge]]
    text.append({**text[0], "basket_id": "3", "quantity": "two"})
    text.append({**text[0], "basket_id": "4", "quantity": "2.5"})
    text.append({**text[0], "basket_id": "5", "household_id": " "})
    write_transactions(landing, DAY, pa.Table.from_pylist(text))
    ingest(lenient(), lake, landing, DAYS, tmp_path / "reports")

    refused = lake.table("quarantine/transactions").read(DAYS).to_pylist()
    by_basket = {row["basket_id"]: row["rules"] for row in refused}
    assert by_basket == {
        str(rows[0]["basket_id"]): "duplicate_key",
        "1": "after_day:transaction_timestamp",
        "2": "expect_column_values_to_be_between(sales_value)",
        "3": "type:quantity",
        "4": "type:quantity",
        "5": "required:household_id",
    }
    assert lake.table("silver/transactions").read(DayRange.single(DAY)).num_rows == good.num_rows
    arrived, kept = lake.table("bronze/transactions").count(), lake.table("silver/transactions").count()
    assert arrived == kept + len(refused)


def test_corrected_delivery_empties_its_quarantine(landing, lake, tmp_path):
    header = "household_id,coupon_upc,campaign_id,redemption_date"
    write_csv(landing, "coupon_redemptions", DAY, [header, "1,2,3,not-a-day"])
    ingest(lenient(), lake, landing, DAYS, tmp_path / "reports")
    assert lake.table("quarantine/coupon_redemptions").count() == 1
    write_csv(landing, "coupon_redemptions", DAY, [header, f"1,2,3,{DAY}"])
    ingest(lenient(), lake, landing, DAYS, tmp_path / "reports")
    assert lake.table("quarantine/coupon_redemptions").count() == 0
    assert lake.table("silver/coupon_redemptions").count() == 1


def test_shut_gate_leaves_silver_unchanged(landing, lake, tmp_path):
    ingest(grocery(), lake, landing, DayRange.single(FIRST), tmp_path / "reports")
    versions = {name: lake.table(name).version() for name in lake.table_names() if name.startswith("silver")}
    rows = transactions(DAY)
    wrong = pa.array([-1] * rows.num_rows, pa.int64())
    write_transactions(landing, DAY, rows.set_column(4, "quantity", wrong))
    with pytest.raises(GateError, match=r"silver/transactions is shut.*0\.00%") as caught:
        ingest(grocery(), lake, landing, DayRange.single(DAY), tmp_path / "reports")
    report = Path(caught.value.where)
    assert "expect_column_values_to_be_between(quantity)" in report.read_text()
    assert {name: lake.table(name).version() for name in versions} == versions
    assert lake.table("quarantine/transactions").count() == rows.num_rows


def test_table_expectation_stops_the_run(landing, lake, tmp_path):
    rule = Expectation(type="expect_table_row_count_to_be_between", severity="stop", arguments={"min_value": 1_000_000})
    project = grocery().model_copy(update={"checks": {"transactions": Checks(expectations=[rule])}})
    with pytest.raises(GateError, match="expect_table_row_count_to_be_between"):
        ingest(project, lake, landing, DAYS, tmp_path / "reports")


@pytest.mark.parametrize(
    "wrong",
    [
        Expectation(type="expect_the_impossible", arguments={"column": "quantity"}),
        Expectation(type="expect_column_values_to_be_between", arguments={"column": "no_such_column", "min_value": 0}),
        Expectation(type="expect_column_values_to_be_between", arguments={"column": "household_id", "min_value": 0}),
        Expectation(type="expect_column_values_to_be_between", arguments={"column": "quantity", "colour": "red"}),
    ],
)
def test_invalid_suite_is_a_suite_error(landing, lake, tmp_path, wrong):
    project = grocery().model_copy(update={"checks": {"transactions": Checks(expectations=[wrong])}})
    with pytest.raises(SuiteError, match=r"checks\.yaml, suite of silver/transactions"):
        ingest(project, lake, landing, DAYS, tmp_path / "reports")
