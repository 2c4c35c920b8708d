"""Permanent deletion: no file of the table contains the deleted rows, and concurrent writes are kept."""

from __future__ import annotations

import datetime as dt
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from benchmarks.traces import find_traces
from include.lake import Lake, LakeError, Table
from include.lake.erasure import delete_rows, forget_history
from include.lake.table import FORMAT, is_conflict

DAYS = [dt.date(2024, 1, day) for day in (1, 2, 3)]
ID = "o'neill-7f"
NOON = dt.datetime.combine(DAYS[0], dt.time(12))
HOURS = dt.timedelta(hours=2)


def rows_of(day: dt.date, *customers: str) -> pa.Table:
    return pa.table({"dt": pa.array([day] * len(customers), pa.date32()), "customer": list(customers)})


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """A table of three days whose log has statistics of the ids, and with an earlier version of its first day."""
    table = Lake(str(tmp_path)).table("silver/x")
    DeltaTable.create(table.uri, rows_of(DAYS[0]).schema, partition_by=["dt"], description=FORMAT)
    for day in (*DAYS, DAYS[0]):
        table.replace([day], rows_of(day, "a", *([ID] if day != DAYS[2] else []), "z"))
    return table


def test_nothing_contains_deleted_rows(table: Table) -> None:
    places = find_traces(Path(table.uri), ID).places
    assert any("_delta_log" not in place for place in places)
    untouched = table.files([DAYS[2]])
    earlier = table.version()
    assert delete_rows(table, DAYS[:2], {"customer": [ID]}) == 2
    assert forget_history(table, HOURS) == 3
    assert find_traces(Path(table.uri), ID).places == []
    assert table.files([DAYS[2]]) == untouched
    assert sorted(table.read(DAYS)["customer"].to_pylist()) == ["a"] * 3 + ["z"] * 3
    with pytest.raises(LakeError):
        Table(table.uri, table.name, at=earlier).read(DAYS)
    table.replace([DAYS[0]], rows_of(DAYS[0], "b"))
    assert table.read([DAYS[0]])["customer"].to_pylist() == ["b"]


def test_statistics_of_an_earlier_version_are_forgotten_even_without_deleted_rows(tmp_path: Path) -> None:
    table = Lake(str(tmp_path)).table("silver/x")
    DeltaTable.create(table.uri, rows_of(DAYS[0]).schema, partition_by=["dt"], description=FORMAT)
    table.replace([DAYS[0]], rows_of(DAYS[0], ID))
    table.replace([DAYS[0]], rows_of(DAYS[0], "a"))
    DeltaTable(table.uri).create_checkpoint()
    assert any("_delta_log" in place for place in find_traces(tmp_path, ID).places)
    assert forget_history(table, HOURS) == 1
    assert find_traces(tmp_path, ID).places == []


def test_new_tables_have_no_values_in_their_log(tmp_path: Path) -> None:
    table = Lake(str(tmp_path)).table("silver/x")
    table.replace([DAYS[0]], rows_of(DAYS[0], ID))
    DeltaTable(table.uri).create_checkpoint()
    assert table.count() == 1
    assert not [place for place in find_traces(tmp_path, ID).places if "_delta_log" in place]


def test_file_of_a_running_write_is_kept(table: Table) -> None:
    running = Path(table.uri) / f"dt={DAYS[1]}" / "part-00000-running.parquet"
    shutil.copyfile(next(iter(table.files([DAYS[2]]))), running)
    forget_history(table, HOURS)
    assert running.exists()


def test_write_that_started_before_an_erasure_is_repeated(table: Table) -> None:
    started = DeltaTable(table.uri)
    delete_rows(table, DAYS[:2], {"customer": [ID]})
    forget_history(table, HOURS)
    with pytest.raises(Exception, match="version") as error:
        write_deltalake(started, rows_of(DAYS[2], "new"), mode="overwrite", predicate=f"dt = '{DAYS[2]}'")
    assert is_conflict(error.value)
    assert table.read([DAYS[2]])["customer"].to_pylist() == ["a", "z"]


@pytest.mark.parametrize(
    ("kind", "value", "other"),
    [
        (pa.int64(), 7, 8),
        (pa.float64(), 7.5, 8.0),
        (pa.decimal128(18, 4), Decimal("7.5000"), Decimal("8.0000")),
        (pa.bool_(), True, False),
        (pa.date32(), DAYS[0], DAYS[1]),
        (pa.timestamp("us"), NOON, NOON + dt.timedelta(microseconds=1)),
    ],
)
def test_values_of_every_type_are_deleted(tmp_path: Path, kind: pa.DataType, value: Any, other: Any) -> None:
    table = Lake(str(tmp_path)).table("silver/x")
    rows = {"dt": pa.array([DAYS[0]] * 3, pa.date32()), "Customer id": pa.array([value, other, None], kind)}
    table.replace([DAYS[0]], pa.table(rows))
    assert delete_rows(table, [DAYS[0]], {"Customer id": [value]}) == 1
    assert set(table.read([DAYS[0]])["Customer id"].to_pylist()) == {other, None}
