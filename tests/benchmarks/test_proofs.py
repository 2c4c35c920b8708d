"""The proof of `make faults` with fewer kills; the end-to-end tests compare a backfill with daily runs."""

from pathlib import Path

import pyarrow as pa
import pytest

from benchmarks.faults import compare_killed_with_complete
from benchmarks.ingest_runs import Difference, compare_lakes
from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE
from include.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CUSTOMERS = 1_000
TABLES = {"bronze/sessions", "silver/transactions", "quarantine/sessions", FEATURES_TABLE}


def assert_same(found: list[Difference]) -> None:
    assert {item.table for item in found} >= TABLES
    assert [item for item in found if item.lost or item.doubled] == []


def test_killed_ingests_lose_and_duplicate_no_rows(tmp_path: Path) -> None:
    assert_same(compare_killed_with_complete(tmp_path, kills=3, kills_a_day=3, customers=CUSTOMERS))


def test_counts_lost_and_duplicate_rows(tmp_path: Path) -> None:
    one, other = (Settings(home=tmp_path / name, project="subscription") for name in ("one", "other"))
    days = DayRange.parse("2024-01-01", "2024-01-02")

    def rows(*values: int) -> pa.Table:
        return pa.table({"dt": pa.array([days.first] * len(values), pa.date32()), "value": values})

    open_lake(one).table("silver/things").replace(days, rows(1, 2, 3))
    open_lake(other).table("silver/things").replace(days, rows(1, 3, 3))
    assert compare_lakes(one, other, days) == [Difference("silver/things", lost=1, doubled=1)]
