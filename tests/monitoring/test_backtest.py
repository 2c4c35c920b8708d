from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from include.days import DayRange
from include.lake import Lake, open_lake
from include.lake.table_names import FEATURES_TABLE
from include.monitoring import __main__ as command
from include.monitoring.backtest import (
    BacktestError,
    backtest,
    days_for_promise,
    outcome,
    render,
    represented_days,
    upper_bound,
    yaml_lines,
)
from include.projects import Project
from include.projects.monitoring import DriftLimits
from include.settings import Settings
from tests.monitoring.conftest import Production
from tests.training.gold import small_project, snapshot_days, without_family, write_gold

FIRST = dt.date(2026, 1, 1)


def days_of(severities: list[float]) -> dict[dt.date, float]:
    return {FIRST + dt.timedelta(days=number): severity for number, severity in enumerate(severities)}


@pytest.mark.parametrize(("events", "bound"), [(0, 2.996), (1, 4.744), (2, 6.296), (10, 16.962)])
def test_upper_bound_is_garwoods(events: int, bound: float) -> None:
    assert upper_bound(events) == pytest.approx(bound, abs=5e-4)


def test_a_bound_of_one_alarm_a_year_needs_three_years_without_an_alarm() -> None:
    assert days_for_promise(1) == 1_095
    assert days_for_promise(0.5) == pytest.approx(2 * days_for_promise(1), abs=1)
    assert days_for_promise(1, alarms=1) == 1_733


def test_an_alarm_is_the_first_of_consecutive_days_with_a_verdict() -> None:
    severities = days_of([0, 2, 0, 2, 2, 0, 0, 0, 2, 0])
    found = outcome(severities, 1.5, 1, 1, 7)
    assert [day.day for day in found.alarms] == [2, 4, 9]
    assert found.verdict_days == 4
    lasting = outcome(severities, 1.5, 2, 3, 7)
    assert [day.day for day in lasting.alarms] == [4]
    assert lasting.verdict_days == 3
    assert not outcome(severities, 2.5, 1, 1, 7).alarms


@given(st.lists(st.floats(0, 3), min_size=1, max_size=60), st.integers(1, 4), st.integers(0, 3))
def test_verdicts_equal_a_count_over_the_last_days(severities: list[float], exceeded: int, more: int) -> None:
    of_days = exceeded + more
    found = outcome(days_of(severities), 1.5, exceeded, of_days, 7)
    exceeds = [severity >= 1.5 for severity in severities]
    verdicts = [sum(exceeds[max(0, end - of_days) : end]) >= exceeded for end in range(1, len(exceeds) + 1)]
    assert found.verdict_days == sum(verdicts)
    starts = [at for at, verdict in enumerate(verdicts) if verdict and (at == 0 or not verdicts[at - 1])]
    assert found.alarms == tuple(FIRST + dt.timedelta(days=at) for at in starts)
    assert found.days == len(severities)


def test_a_weekly_day_represents_its_window() -> None:
    weekly = [FIRST + dt.timedelta(days=7 * week) for week in range(4)]
    assert np.bincount(represented_days(weekly, 7)).tolist() == [7, 7, 7, 7]
    assert np.bincount(represented_days(weekly, 3)).tolist() == [3, 3, 3, 3]
    assert np.bincount(represented_days([FIRST, FIRST + dt.timedelta(days=100)], 7)).tolist() == [7, 7]


def test_a_weekly_day_over_the_limits_exceeds_on_each_day_of_its_week() -> None:
    weekly = {FIRST + dt.timedelta(days=7 * week): severity for week, severity in enumerate([0, 2, 0, 0])}
    found = outcome(weekly, 1.5, 2, 3, 7)
    assert found.alarms == (FIRST + dt.timedelta(days=7),)
    assert (found.verdict_days, found.days) == (7, 28)


@pytest.fixture
def past(tmp_path: Path) -> tuple[Project, Lake, list[dt.date]]:
    project, lake = small_project(), open_lake(Settings(home=tmp_path, project="grocery"))
    days = snapshot_days(project, 36)
    write_gold(lake, project, days, 300)
    return project, lake, days


def test_a_past_without_drift_has_no_alarm_but_is_too_short_to_confirm_the_budget(
    past: tuple[Project, Lake, list[dt.date]],
) -> None:
    project, lake, days = past
    result = backtest(project, lake, None, DayRange(days[0], days[-1]))
    assert not result.configured.alarms
    assert list(result.days) == [day for day in days if day >= next(iter(result.days))]
    text = render(result, has_model=False)
    assert "the history is too short to confirm it" in text
    assert "all features count equally" in text
    recorded = DriftLimits.model_validate(yaml.safe_load(yaml_lines(result))["drift"]).backtest
    assert recorded is not None
    assert (recorded.alarms, recorded.through) == (0, days[-1])


def test_a_lasting_change_in_the_past_is_an_alarm_with_its_feature(past: tuple[Project, Lake, list[dt.date]]) -> None:
    project, lake, days = past
    shift(lake, days[-4:], "baskets_28d", 2.0)
    result = backtest(project, lake, None, DayRange(days[0], days[-1]))
    assert result.configured.alarms == (days[-4],)
    assert "baskets_28d" in result.days[days[-4]].text
    assert "exceed the budget of 1 a year" in render(result, has_model=False)


def test_a_day_is_compared_only_with_earlier_data(past: tuple[Project, Lake, list[dt.date]]) -> None:
    project, lake, days = past
    span = DayRange(days[0], days[-3])
    before = backtest(project, lake, None, span).days
    shift(lake, days[-2:], "baskets_28d", 5.0)
    assert backtest(project, lake, None, span).days == before


def test_a_past_that_is_too_short_is_an_error(past: tuple[Project, Lake, list[dt.date]]) -> None:
    project, lake, days = past
    with pytest.raises(BacktestError, match="No model could have been trained before"):
        backtest(project, lake, None, DayRange(days[0], days[8]))
    before = days[0] - dt.timedelta(days=1)
    with pytest.raises(BacktestError, match="No model could have been trained before"):
        backtest(project, lake, None, DayRange.single(before))


def test_features_of_the_model_and_of_the_project_may_differ_from_gold(production: Production) -> None:
    project, lake, days = production.project, production.lake, production.days
    span = DayRange(days[0], days[-1])
    content = project.model_dump()
    content["training"]["segments"] = ("gap_days_84d",)
    removed = without_family(Project.model_validate(content), "age")  # a category, which gold and the model contain
    expected = backtest(project, lake, production.bundle, span).days
    assert backtest(removed, lake, production.bundle, span).days == expected
    gone = open_lake(Settings(home=production.settings.home / "gone", project=project.name))
    gone.table(FEATURES_TABLE).replace(span, lake.table(FEATURES_TABLE).read(span).drop_columns("age"))
    for bundle in (None, production.bundle):
        assert list(backtest(project, gone, bundle, span).days) == list(expected)


def test_a_project_whose_features_all_change_with_time_has_a_backtest(
    past: tuple[Project, Lake, list[dt.date]],
) -> None:
    project, lake, days = past
    content = project.model_dump()
    for family in content["feature_families"]:
        family["drifts_by_construction"] = True
    result = backtest(Project.model_validate(content), lake, None, DayRange(days[0], days[-1]))
    assert {largest.text for largest in result.days.values()} == {"no feature counts"}
    assert not result.configured.alarms


def test_the_command_prints_the_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, settings = small_project(), Settings(home=tmp_path, project="grocery")
    days = snapshot_days(project, 30)
    write_gold(open_lake(settings), project, days, 100)
    monkeypatch.setattr(command, "get_settings", lambda: settings)
    monkeypatch.setattr(command, "load_project", lambda name: project)
    done = CliRunner().invoke(command.app, ["backtest", "--through", str(days[-1])])
    assert done.exit_code == 0
    assert "drift:\n  backtest: {through: " + str(days[-1]) in done.output


def shift(lake: Lake, days: list[dt.date], feature: str, by: float) -> None:
    table = lake.table(FEATURES_TABLE)
    rows = table.read(days)
    moved = pa.array(np.asarray(rows[feature]) + by)
    table.replace(days, rows.set_column(rows.schema.get_field_index(feature), feature, moved))
