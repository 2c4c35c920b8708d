import datetime as dt
import json
import random
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from deltalake.exceptions import CommitFailedError

from include.days import DayRange
from include.lake import Lake, LakeError

DAYS = DayRange.parse("2024-01-01", "2024-01-28")


def rows(day: dt.date, *values: int) -> pa.Table:
    return pa.table({"dt": pa.array([day] * len(values), pa.date32()), "value": pa.array(values, pa.int64())})


def content(lake: Lake, name: str = "silver/things") -> list[dict]:
    return sorted(lake.table(name).read(DAYS).to_pylist(), key=lambda row: (row["dt"], row["value"]))


def write_one_day(uri: str, day: dt.date) -> None:
    Lake(uri).table("silver/things").replace(DayRange.single(day), rows(day, day.day, day.day + 100))


@pytest.fixture
def lake(tmp_path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def test_time_of_the_newest_commit(lake):
    table, began = lake.table("silver/things"), dt.datetime.now(dt.UTC).replace(microsecond=0)
    with pytest.raises(LakeError, match="does not exist"):
        table.written_at()
    write_one_day(lake.uri, DAYS.first)
    first = table.written_at()
    assert began <= first <= dt.datetime.now(dt.UTC)
    write_one_day(lake.uri, DAYS.last)
    assert table.written_at() > first


def test_replace_is_idempotent(lake):
    day = DAYS.first
    for _ in range(2):
        lake.table("silver/things").replace(DayRange.single(day), rows(day, 1, 2))
    assert content(lake) == [{"dt": day, "value": 1}, {"dt": day, "value": 2}]
    assert lake.table("silver/things").count() == 2


def test_opening_reads_few_commits_after_many_replacements(lake):
    table = lake.table("silver/things")
    for value in range(25):
        table.replace(DayRange.single(DAYS.first), rows(DAYS.first, value))
    checkpoint = json.loads(Path(table.uri, "_delta_log", "_last_checkpoint").read_text())
    assert table.version() - checkpoint["version"] <= 10
    assert [row["value"] for row in content(lake)] == [24]


def test_replace_keeps_other_days(lake):
    table = lake.table("silver/things")
    first, second = DAYS.first, DAYS.first + dt.timedelta(days=1)
    table.replace(DayRange.single(first), rows(first, 1))
    table.replace(DayRange.single(second), rows(second, 2))
    table.replace(DayRange.single(first), rows(first, 3))
    assert [row["value"] for row in content(lake)] == [3, 2]


def test_replace_without_rows_empties_a_day(lake):
    table = lake.table("silver/things")
    table.replace(DayRange.single(DAYS.first), rows(DAYS.first, 1))
    table.replace(DAYS, rows(DAYS.last, 9))
    assert table.days() == [DAYS.last]


def test_replace_of_separate_days(lake):
    table = lake.table("silver/things")
    days = list(DAYS)[:3]
    table.replace(DAYS, pa.concat_tables([rows(day, 1) for day in days]))
    table.replace([days[0], days[2]], pa.concat_tables([rows(days[0], 5), rows(days[2], 6)]))
    assert [row["value"] for row in content(lake)] == [5, 1, 6]


def test_replace_refuses_rows_of_other_days(lake):
    table = lake.table("silver/things")
    version = table.replace(DayRange.single(DAYS.first), rows(DAYS.first, 1))
    with pytest.raises(LakeError, match="2024-01-28"):
        table.replace(DayRange.single(DAYS.first), rows(DAYS.last, 2))
    assert table.version() == version


@pytest.mark.parametrize(("as_stream", "attempts"), [(False, 2), (True, 1)])
def test_conflict_repeats_the_write_of_a_table_but_not_of_a_stream(lake, monkeypatch, as_stream, attempts):
    table = lake.table("silver/things")
    table.replace(DayRange.single(DAYS.first), rows(DAYS.first, 1))
    made = []

    def conflicts_once(uri, given, **options):
        made.append(given)
        if len(made) == 1:
            (given.read_all() if as_stream else given).num_rows  # noqa: B018 - a failing write consumes the stream
            raise CommitFailedError("another writer was faster")
        return write_deltalake(uri, given, **options)

    monkeypatch.setattr("include.lake.table.write_deltalake", conflicts_once)
    new = rows(DAYS.first, 5)
    if as_stream:
        with pytest.raises(CommitFailedError):
            table.replace(DayRange.single(DAYS.first), new.to_reader())
    else:
        table.replace(DayRange.single(DAYS.first), new)
    assert len(made) == attempts
    assert [row["value"] for row in content(lake)] == [1 if as_stream else 5]


def test_new_column_is_null_in_older_days(lake):
    table = lake.table("silver/things")
    table.replace(DayRange.single(DAYS.first), rows(DAYS.first, 1))
    wider = rows(DAYS.last, 2).append_column("note", pa.array(["new"]))
    table.replace(DayRange.single(DAYS.last), wider)
    assert [row["note"] for row in table.read(DAYS).sort_by("dt").to_pylist()] == [None, "new"]
    assert table.read(DayRange.single(DAYS.first))["note"].to_pylist() == [None]


def test_missing_table_names_the_remedy(lake):
    with pytest.raises(LakeError, match=r"does not exist yet.*churn_ingest"):
        lake.table("gold/features").read(DAYS)


@pytest.mark.slow
def test_four_processes_write_different_days_concurrently(lake):
    days = list(DAYS)
    random.Random(7).shuffle(days)  # noqa: S311 - an order, not a secret
    context = get_context("forkserver")
    context.set_forkserver_preload([__name__])  # one import for four processes
    with ProcessPoolExecutor(4, mp_context=context) as pool:
        list(pool.map(write_one_day, [lake.uri] * 28, days))
    assert content(lake) == [{"dt": day, "value": day.day + more} for day in DAYS for more in (0, 100)]


def test_earlier_version_is_read_only(lake):
    day, table = DAYS.first, lake.table("silver/things")
    first = table.replace(DayRange.single(day), rows(day, 1))
    table.replace(DAYS, rows(DAYS.last, 2))
    earlier = lake.at({"silver/things": first})
    assert content(earlier) == [{"dt": day, "value": 1}]
    assert (earlier.table("silver/things").days(), earlier.table("silver/things").version()) == ([day], first)
    with pytest.raises(LakeError, match="is read-only"):
        earlier.table("silver/things").replace(DAYS, rows(day, 3))
    with pytest.raises(LakeError, match="no version 99"):
        lake.at({"silver/things": 99}).table("silver/things").version()
    assert content(lake) == [{"dt": DAYS.last, "value": 2}]
