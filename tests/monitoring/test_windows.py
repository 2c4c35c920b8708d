"""The window of a day, and its rows."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from include.days import DayRange
from include.lake.table_names import FEATURES_TABLE
from include.monitoring.windows import (
    WindowError,
    judged_days,
    latest_rows,
    new_columns,
    window_days,
    with_scores,
)
from include.projects import Project
from include.training.model.reference_profile import SCORE
from tests.monitoring.conftest import CUSTOMERS, Production, shift


def copy_day(production: Production, day: dt.date, to: dt.date) -> None:
    table = production.lake.table(FEATURES_TABLE)
    rows = table.read([day])
    position = rows.schema.get_field_index("dt")
    table.replace(DayRange.single(to), rows.set_column(position, "dt", [[to] * rows.num_rows]))


def window_of(production: Production, project: Project, day: dt.date) -> list[dt.date]:
    return window_days(project, production.lake.table(FEATURES_TABLE).days(), day)


def test_window_contains_its_snapshot(production: Production) -> None:
    snapshot, later = production.days[9], production.days[9] + dt.timedelta(days=2)
    copy_day(production, snapshot, later)
    assert window_of(production, production.project, later) == [snapshot]


def test_window_without_a_snapshot_contains_the_latest_row_of_each_customer(production: Production) -> None:
    first, last = (production.days[9] + dt.timedelta(days=days) for days in (2, 3))
    copy_day(production, production.days[9], first)
    copy_day(production, production.days[9], last)
    shift(production, last, "days_since_purchase", 1000.0)
    monitoring = production.project.monitoring.model_copy(update={"window_days": 2})
    project = production.project.model_copy(update={"monitoring": monitoring})
    assert window_of(production, project, last) == [first, last]
    rows = latest_rows(production.lake, production.bundle.contract, [first, last])
    assert rows.num_rows == CUSTOMERS
    assert np.min(rows["days_since_purchase"]) >= 1000


def test_days_outside_the_window_are_left_out(production: Production) -> None:
    assert window_of(production, production.project, production.days[9]) == [production.days[9]]


def test_last_days_in_gold_are_judged(production: Production) -> None:
    days = production.days
    assert judged_days(production.lake, days[9], 3) == days[7:10]
    assert judged_days(production.lake, days[1], 3) == days[:2]


def test_columns_that_the_model_does_not_use_are_new(production: Production) -> None:
    contract = production.bundle.contract
    assert new_columns(production.lake, contract) == []
    fewer = contract.with_features(contract.feature_names[1:])
    assert new_columns(production.lake, fewer) == [contract.feature_names[0]]


def test_scores_of_rows_without_a_column_are_those_of_missing_values(production: Production) -> None:
    bundle = production.bundle
    rows = latest_rows(production.lake, bundle.contract, [production.days[9]])
    position = rows.schema.get_field_index("days_since_purchase")
    nulls = rows.set_column(position, "days_since_purchase", pa.nulls(rows.num_rows, pa.float64()))
    endless = rows.set_column(position, "days_since_purchase", pa.array(np.full(rows.num_rows, np.inf)))
    expected = with_scores(nulls, bundle)[SCORE]
    assert with_scores(rows.drop_columns("days_since_purchase"), bundle)[SCORE] == expected
    assert with_scores(endless, bundle)[SCORE] == expected
    assert with_scores(rows, bundle)[SCORE] != expected


def test_day_without_rows_is_an_error(production: Production) -> None:
    with pytest.raises(WindowError, match=r"2017-\d\d-\d\d has no rows.*Run churn_ingest"):
        judged_days(production.lake, production.days[9] + dt.timedelta(days=1), 3)
