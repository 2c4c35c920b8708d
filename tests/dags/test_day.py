"""The day of a run, for every way to start a run."""

import datetime as dt
from types import SimpleNamespace

import pytest

from dags.wiring.day import resolve_day, resolve_days
from include.days import DayError, DayRange

pytestmark = pytest.mark.airflow

DAY = dt.date(2017, 12, 17)


def context(**values):
    return {"run_id": "r", "params": {}, **values}


def event(day: str):
    return SimpleNamespace(extra={"day": day})


@pytest.mark.parametrize(
    "given",
    [
        context(partition_key="2017-12-17"),
        context(partition_key="2017-12-17T00:00:00"),
        context(dag_run=SimpleNamespace(partition_key="2017-12-17")),
        context(data_interval_start=dt.datetime(2017, 12, 17, tzinfo=dt.UTC)),
        context(triggering_asset_events={"gold": [event("2017-12-10"), event("2017-12-17")]}),
        context(params={"day": "2017-12-17"}),
        context(params={"day": "2017-12-17"}, data_interval_start=dt.datetime(2026, 11, 22, tzinfo=dt.UTC)),
    ],
    ids=[
        "partition",
        "partition with time",
        "run's partition",
        "interval",
        "events",
        "parameter",
        "parameter takes precedence",
    ],
)
def test_resolves_day_of_every_kind_of_run(given):
    assert resolve_day(given) == DAY
    assert resolve_days(given) == DayRange.single(DAY)


def test_resolves_range_from_params():
    given = context(params={"from_day": "2017-01-01", "to_day": "2017-12-17"}, partition_key="2017-12-17")
    assert resolve_days(given) == DayRange(dt.date(2017, 1, 1), DAY)
    for empty in (None, ""):
        assert resolve_days(context(params={"from_day": empty, "to_day": "2017-12-17"})) == DayRange.single(DAY)
        assert resolve_days(context(params={"day": empty, "to_day": empty}, partition_key="2017-12-17")).last == DAY


@pytest.mark.parametrize(
    "given",
    [
        context(),
        context(params={"day": "17.12.2017"}),
        context(params={"day": 20171217}, partition_key="2017-12-17"),
        context(params={"from_day": "2017-12-18", "to_day": "2017-12-17"}),
        context(params={"from_day": "2017-12-10"}, partition_key="2017-12-17"),
        context(params={"from_day": "2017-12-10"}),
        context(params={"day": "2017-12-10"}, partition_key="2017-12-17T00:00:00"),
        context(params={"from_day": "2017-12-01", "to_day": "2017-12-10"}, partition_key="2017-12-17"),
    ],
    ids=[
        "no day",
        "no ISO date",
        "no text",
        "reversed range",
        "first day and a partition",
        "first day alone",
        "day and another partition",
        "range and another partition",
    ],
)
def test_run_without_valid_day_has_remedy(given):
    with pytest.raises(DayError, match="Remedy"):
        resolve_days(given)
