"""A whole ingest, from delivered files to gold and labels, leaves the same lake for every order of its days.

This also holds for runs at the same time, for a killed run that is repeated, in an object store, and on Spark.
"""

from __future__ import annotations

import datetime as dt
import shutil
import signal
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ingest_runs import compare_lakes, kill_after_commit
from include import ingest
from include.days import DayRange
from include.lake import open_lake
from include.lake.table import ConflictError
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE
from include.projects import Project
from include.settings import EngineName, Settings
from tests.features.language import SOURCES, attribute, project
from tests.s3 import s3_server
from tests.spark import needs_spark
from tests.world import write_csv

FIRST = dt.date(2024, 1, 1)
DAYS = DayRange(FIRST, FIRST + dt.timedelta(days=3))
DAY = dt.timedelta(days=1)
CUSTOMERS = "abcdefgh"


def business() -> Project:
    columns = {
        "payments": {"payment": "string", "person": "string", "amount": "decimal", "paid_at": "timestamp"},
        "plans": SOURCES["plans"]["columns"],
    }
    sources = {
        name: {
            **{key: SOURCES[name][key] for key in ("kind", "key", "customer", "event_time")},
            "description": name,
            "owner": "tests",
            "files": {"format": "csv", "path": f"{name}/{{day}}.csv"},
            "columns": {column: {"type": kind} for column, kind in found.items()},
            "deduplicate_days": 2 if name == "payments" else 0,
        }
        for name, found in columns.items()
    }
    calculations = {
        "mean_3d": ({"function": "mean", "source": "payments", "column": "amount"}, [3]),
        "last_3d": ({"function": "days_since_last", "source": "payments"}, [3]),
        "seats": (attribute("plans", "seats"), None),
    }
    return project(
        {"source": "payments", "active_within_days": 3},
        {"kind": "no_event", "description": "", "source": "payments", "horizon_days": 2},  # type: ignore[arg-type]
        sources=sources,
        checks={"payments": {"minimum_pass_share": 0}},
        derived_columns={},
        feature_families=[
            {"name": name, "description": "", "type": "aggregation" if windows else "derived", "calculation": found}
            | ({"windows": windows} if windows else {})
            for name, (found, windows) in calculations.items()
        ],
    )


def deliver(landing: Path) -> None:
    """Write the files of all days, with late events, ids that repeat over days, and invalid amounts."""
    rng = np.random.default_rng(1)
    for number, day in enumerate(DAYS):
        payments = []
        for customer in CUSTOMERS:
            late = int(rng.integers(2)) if number else 0
            payment = f"{customer}{number // 2 if rng.random() < 0.3 else number}"
            amount = "five" if rng.random() < 0.1 else int(rng.integers(1, 99))
            if rng.random() < 0.6:
                payments.append(f"{payment},{customer},{amount},{day - dt.timedelta(days=late)} 09:00:00")
        write_csv(landing, "payments", day, ["payment,person,amount,paid_at", *payments])
        changed = CUSTOMERS if number == 0 else CUSTOMERS[number]
        plans = [f"{customer},active,{number + 1},5,false,{FIRST},{day} 08:00:00" for customer in changed]
        write_csv(landing, "plans", day, ["person,status,seats,price,trial,since,changed_at", *plans])


def deploy(root: Path, name: str, engine: EngineName = "duckdb") -> Settings:
    return Settings(home=root / name, project="language", landing_uri=str(root / "landing"), engine=engine)


@pytest.mark.slow
def test_days_in_random_order_and_repeated_equal_daily_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "load_project", lambda _: business())
    deliver(tmp_path / "landing" / "language")
    daily, shuffled = (deploy(tmp_path, name) for name in ("daily", "shuffled"))
    days = [DayRange.single(day) for day in DAYS]
    ingest.ingest_days(daily, days[0])
    shutil.copytree(daily.home, shuffled.home)
    for day in days[1:]:
        ingest.ingest_days(daily, day)
    for number in (3, 1, 2, 1):
        ingest.ingest_days(shuffled, days[number])
    found = compare_lakes(daily, shuffled, DAYS)
    assert {item.table for item in found} >= {"silver/plans", "quarantine/payments", FEATURES_TABLE, LABELS_TABLE}
    assert [item for item in found if item.lost or item.doubled] == []
    lake = open_lake(daily)
    assert all(lake.table(name).row_counts(DAYS) for name in (FEATURES_TABLE, LABELS_TABLE, "quarantine/payments"))


def ingest_business(settings: Settings, days: DayRange) -> None:
    """Ingest days in a process of their own, and repeat the run after a conflict, as Airflow does."""
    ingest.load_project = lambda _: business()
    for attempt in range(3):
        try:
            ingest.ingest_days(settings, days)
        except ConflictError:
            if attempt == 2:
                raise
        else:
            return


def start(settings: Settings, days: DayRange) -> SpawnProcess:
    process = get_context("spawn").Process(target=ingest_business, args=(settings, days))
    process.start()
    return process


def finish(*processes: SpawnProcess) -> None:
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


@pytest.mark.slow
def test_runs_at_once_and_a_killed_run_in_an_object_store_equal_daily_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "load_project", lambda _: business())
    deliver(tmp_path / "landing" / "language")
    daily, days = deploy(tmp_path, "daily"), [DayRange.single(day) for day in DAYS]
    for day in days:
        ingest.ingest_days(daily, day)
    with s3_server("lake") as address:
        remote = deploy(tmp_path, "remote").model_copy(update={"lake_uri": f"{address}/lake"})
        for day in days[:2]:
            ingest.ingest_days(remote, day)
        finish(*(start(remote, day) for day in days[2:]))
        killed = start(remote, days[2])
        kill_after_commit(killed, open_lake(remote).table("silver/payments"))
        assert killed.exitcode == -signal.SIGKILL
        ingest.ingest_days(remote, days[2])
        found = compare_lakes(daily, remote, DAYS)
    assert {item.table for item in found} >= {"quarantine/payments", FEATURES_TABLE, LABELS_TABLE}
    assert [item for item in found if item.lost or item.doubled] == []


@pytest.mark.slow
@needs_spark
def test_spark_and_duckdb_build_the_same_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "load_project", lambda _: business())
    deliver(tmp_path / "landing" / "language")
    expected, found = deploy(tmp_path, "on-duckdb"), deploy(tmp_path, "on-spark", "spark")
    for settings in (expected, found):
        for days in (DayRange(DAYS.first, DAYS.first + dt.timedelta(days=2)), DayRange(DAYS.first, DAYS.last)):
            ingest.ingest_days(settings, days)
    differences = compare_lakes(expected, found, DAYS)
    assert {item.table for item in differences} >= {"quarantine/payments", FEATURES_TABLE, LABELS_TABLE}
    assert [item for item in differences if item.lost or item.doubled] == []
