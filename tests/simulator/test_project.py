from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from include.projects import load_project
from simulator.delivery import FORMATS
from simulator.generate import LANDING
from tests.simulator.worlds import FIRST, day, read

pytestmark = pytest.mark.slow  # worlds of some hundred customers

PROJECT = load_project("subscription")


def test_project_matches_the_simulator() -> None:
    assert PROJECT.first_day == FIRST
    assert PROJECT.sources.keys() == FORMATS.keys()


@pytest.mark.parametrize("name", sorted(PROJECT.sources))
def test_files_match_the_declared_paths_and_columns(name: str, small: Path) -> None:
    source = PROJECT.sources[name]
    assert source.files is not None
    for number in (0, 100, 199):
        path = small / LANDING / source.files.path.format(day=day(number))
        assert path.exists()
        assert FORMATS[name] == source.files.format
        if path.stat().st_size:
            assert list(read(small, name, day(number)).columns) == list(source.columns)


@pytest.mark.parametrize("name", sorted(PROJECT.sources))
def test_rows_match_the_declared_keys_and_times(name: str, small: Path) -> None:
    source = PROJECT.sources[name]
    assert source.event_time is not None
    rows = read(small, name)
    moments = pd.to_datetime(rows[source.event_time])
    required = [column for column, about in source.columns.items() if about.required]
    assert not rows[required].isna().any().any()
    assert not rows.assign(_day=moments.dt.date).duplicated([*source.key, "_day"]).any()
    if source.kind == "events":
        assert not rows.duplicated(source.key).any()
    some = read(small, name, day(60))
    assert set(pd.to_datetime(some[source.event_time]).dt.date) == {day(60)}


def test_values_pass_the_checks(small: Path) -> None:
    customers, sessions = read(small, "customers"), read(small, "sessions")
    assert customers["age"].between(18, 100).all()
    assert set(customers["status"]) == {"active", "churned"}
    assert (customers["signup_date"] <= customers["updated_at"]).all()
    assert sessions["duration_s"].between(0, 86_400).all()
    assert set(sessions["customer_id"]) <= set(customers["customer_id"])
    assert set(read(small, "support_tickets")["satisfaction"].dropna()) == {1, 2, 3, 4, 5}
    transactions = read(small, "transactions")
    assert (transactions["amount"] > 0).all()
    assert 0.02 < (transactions["status"] == "failed").mean() < 0.15


def test_number_of_features_and_their_validations() -> None:
    data = PROJECT.requirements.data
    assert data.min_features == 80
    assert 80 <= len(PROJECT.features) <= data.max_features == 120
    assert all(spec.minimum is not None or spec.categories for spec in PROJECT.features)
    functions = {spec.calculation.function for spec in PROJECT.features}
    assert functions >= {
        "count", "active_days", "count_distinct", "sum", "mean", "min", "max", "std", "days_since_last",
        "mean_gap_days", "max_gap_days", "share", "ratio", "trend", "attribute", "days_since",
    }  # fmt: skip
