"""The lake in an object store, through a real S3 API."""

import datetime as dt
from collections.abc import Iterator

import fsspec
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from include.days import DayRange
from include.lake import Lake, LakeError
from include.lake.conditional_writes import ConditionalWriteError
from include.lake.erasure import delete_rows, forget_history
from include.lake.maintenance import compact
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


def test_erasure_and_compaction_work_in_an_object_store(lake: Lake) -> None:
    days, table = list(DAYS)[:2], lake.table("silver/others")
    for _ in range(2):
        table.replace(days, pa.table({"dt": pa.array([*days, *days], pa.date32()), "id": [*"aabb"]}))
    earlier = table.version()
    assert delete_rows(table, days, {"id": ["a"]}) == 2
    assert forget_history(table, dt.timedelta(hours=1)) == 4
    assert table.read(days)["id"].to_pylist() == ["b", "b"]
    files, root = fsspec.url_to_fs(table.uri)
    files.invalidate_cache()
    names = [path.removeprefix(f"{root}/") for path in files.find(root)]
    assert sorted(name for name in names if name.startswith("dt=")) == sorted(
        uri.removeprefix(f"{table.uri}/") for uri in table.files(days)
    )
    assert len([name for name in names if name.endswith(".json")]) == 1
    with pytest.raises(LakeError, match="no version"):
        lake.at({table.name: earlier}).table(table.name).read(days)
    assert compact(table) == (0, 0)
    current = table.version()
    table.replace(days, rows(days, 1))
    DeltaTable(table.uri).vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(LakeError, match="no longer has its files"):
        lake.at({table.name: current}).table(table.name).read(days)


def test_store_without_conditional_writes_is_refused() -> None:
    with s3_server("unconditional", conditional_writes=False) as address:
        table = Lake(f"{address}/shop").table("silver/things")
        with pytest.raises(ConditionalWriteError, match="could lose rows"):
            table.replace(DAYS, rows(list(DAYS), 1))
        assert not table.exists()
