import datetime as dt
import json
from pathlib import Path

import pyarrow as pa
import pytest

from include.days import DayRange
from include.lake import Lake
from include.sources.audit import audit_sources
from include.sources.bronze import load_bronze
from include.sources.bronze_tables import delivered_days
from include.sources.connections import Connections
from include.sources.errors import ColumnError, CorruptFileError, EmptyFileError, MissingFileError
from tests.world import FIRST, grocery, transactions, write_csv, write_transactions, write_world

DAYS = DayRange(FIRST, FIRST + dt.timedelta(days=4))
BAD = FIRST + dt.timedelta(days=2)


def connections(landing: Path) -> Connections:
    return Connections(str(landing))


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    write_world(tmp_path / "landing", DAYS)
    return tmp_path / "landing"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_bronze_holds_every_row_as_text(landing, lake):
    load_bronze(grocery(), lake, connections(landing), DAYS)
    arrived = sum(transactions(day).num_rows for day in DAYS)
    assert lake.table("bronze/transactions").count() == arrived
    row = lake.table("bronze/transactions").read(DayRange.single(FIRST)).slice(0, 1).to_pylist()[0]
    assert isinstance(row["sales_value"], str)
    assert row["_file"] == f"{FIRST}.parquet"
    assert row["_row"] >= 1


def test_row_numbers_do_not_depend_on_the_loaded_range(landing, tmp_path):
    together, alone = Lake(str(tmp_path / "a")), Lake(str(tmp_path / "b"))
    load_bronze(grocery(), together, connections(landing), DAYS)
    for day in reversed(list(DAYS)):
        load_bronze(grocery(), alone, connections(landing), DayRange.single(day))
    for name in together.table_names():
        order = [("dt", "ascending"), ("file" if name.endswith("_deliveries") else "_file", "ascending")]
        order += [("source" if name.endswith("_deliveries") else "_row", "ascending")]
        left, right = (lake.table(name).read(DAYS).sort_by(order) for lake in (together, alone))
        assert left.equals(right), name


def test_undeclared_columns_are_stored_and_reported(landing, lake):
    rows = transactions(BAD)
    write_transactions(landing, BAD, rows.append_column("till", pa.array(range(rows.num_rows))))
    audited = audit_sources(grocery(), lake, connections(landing), DAYS, landing.parent / "audits")
    assert audited["sources"]["transactions"]["undeclared_columns"] == ["till"]
    load_bronze(grocery(), lake, connections(landing), DAYS)
    kept = lake.table("bronze/transactions").read(DayRange.single(BAD))["_undeclared"].to_pylist()
    assert sorted(json.loads(text)["till"] for text in kept) == list(range(rows.num_rows))


def test_day_without_rows_counts_as_delivered(landing, lake):
    write_transactions(landing, BAD, transactions(BAD).slice(0, 0))
    load_bronze(grocery(), lake, connections(landing), DAYS)
    assert BAD in delivered_days(lake, "transactions", DAYS)
    assert BAD not in lake.table("bronze/transactions").days()


def break_missing(landing: Path) -> None:
    (landing / "transactions" / f"{BAD}.parquet").unlink()


def break_empty(landing: Path) -> None:
    (landing / "transactions" / f"{BAD}.parquet").write_bytes(b"")


def break_column(landing: Path) -> None:
    write_transactions(landing, BAD, transactions(BAD).drop_columns(["store_id"]))


def break_parquet(landing: Path) -> None:
    (landing / "transactions" / f"{BAD}.parquet").write_bytes(b"PAR1 this is no table PAR1")


def break_parquet_inside(landing: Path) -> None:
    path = landing / "transactions" / f"{BAD}.parquet"
    content = bytearray(path.read_bytes())
    content[4:200] = b"\xff" * 196
    path.write_bytes(bytes(content))


def break_parquet_by_half(landing: Path) -> None:
    path = landing / "transactions" / f"{BAD}.parquet"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def break_csv_encoding(landing: Path) -> None:
    (landing / "coupon_redemptions" / f"{BAD}.csv").write_bytes(b"household_id,\xff\xfe\n1,2\n")


def break_csv_rows(landing: Path) -> None:
    header = "household_id,coupon_upc,campaign_id,redemption_date"
    write_csv(landing, "coupon_redemptions", BAD, [header, f"1,2,3,{BAD}", "1,2,3,4,5,6,7", '"unclosed'])


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (break_missing, MissingFileError),
        (break_empty, EmptyFileError),
        (break_column, ColumnError),
        (break_parquet, CorruptFileError),
        (break_parquet_inside, CorruptFileError),
        (break_parquet_by_half, CorruptFileError),
        (break_csv_encoding, CorruptFileError),
        (break_csv_rows, CorruptFileError),
    ],
)
def test_invalid_file_is_an_error_and_leaves_earlier_days_unchanged(landing, lake, damage, error):
    earlier = DayRange(FIRST, FIRST + dt.timedelta(days=1))
    load_bronze(grocery(), lake, connections(landing), earlier)
    before = {name: lake.table(name).version() for name in lake.table_names() if not name.endswith("_deliveries")}
    damage(landing)
    with pytest.raises(error) as caught:
        load_bronze(grocery(), lake, connections(landing), DayRange.single(BAD))
    assert str(BAD) in str(caught.value)
    assert "Remedy" in str(caught.value)
    kept = lake.table("bronze/transactions").read(earlier)
    assert kept.num_rows == sum(transactions(day).num_rows for day in earlier)
    if damage not in (break_parquet_inside, break_csv_rows):  # these are found while reading, not before
        assert {name: lake.table(name).version() for name in before} == before


def test_missing_first_snapshot_is_an_error(landing, lake):
    (landing / "products" / f"{FIRST}.csv").unlink()
    with pytest.raises(MissingFileError, match="No snapshot was delivered"):
        load_bronze(grocery(), lake, connections(landing), DAYS)
