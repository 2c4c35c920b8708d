"""The lake in an object store, through a real S3 API."""

import datetime as dt
from collections.abc import Iterator

import pyarrow as pa
import pytest

from include.days import DayRange
from include.lake import Lake
from tests.s3 import s3_server

pytestmark = pytest.mark.slow

DAYS = DayRange.parse("2024-01-01", "2024-01-03")


@pytest.fixture(scope="module")
def lake() -> Iterator[Lake]:
    with s3_server("lake") as address:
        yield Lake(f"{address}/shop")


def rows(days: list[dt.date], value: int) -> pa.Table:
    return pa.table({"dt": pa.array(days, pa.date32()), "value": [value] * len(days)})


def test_replace_and_read_in_an_object_store(lake: Lake) -> None:
    table = lake.table("silver/things")
    table.replace(DAYS, rows(list(DAYS), 1))
    before = table.files(DAYS)
    table.replace(DayRange.single(DAYS.last), rows([DAYS.last], 2))
    assert table.read(DAYS).sort_by("dt")["value"].to_pylist() == [1, 1, 2]
    assert table.read(DAYS, ["value"]).column_names == ["value"]
    assert len(before - table.files(DAYS)) == 1
    assert lake.table_names() == ["silver/things"]
