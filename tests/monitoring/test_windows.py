"""The reference and the current window."""

from __future__ import annotations

import datetime as dt

import pytest

from include.days import DayRange
from include.lake.table_names import FEATURES_TABLE
from include.monitoring.windows import WindowError, current_window, reference_window
from tests.monitoring.conftest import CUSTOMERS, Production, shift


def test_reference_is_the_last_training_snapshot(production: Production) -> None:
    window = reference_window(production.lake, production.project, production.bundle.contract)
    assert window.days == (production.days[3],)
    assert len(window.rows) == CUSTOMERS


def test_current_window_contains_the_latest_row_of_each_customer(production: Production) -> None:
    day, before = production.days[9], production.days[9] - dt.timedelta(days=2)
    table = production.lake.table(FEATURES_TABLE)
    rows = table.read([day])
    stamped = rows.set_column(rows.schema.get_field_index("dt"), "dt", [[before] * rows.num_rows])
    table.replace(DayRange.single(before), stamped)
    shift(production, day, "days_since_purchase", 1000.0)
    window = current_window(production.lake, production.project, production.bundle.contract, day)
    assert window.days == (before, day)
    assert len(window.rows) == CUSTOMERS
    assert window.rows["days_since_purchase"].min() >= 1000


def test_days_outside_the_window_are_left_out(production: Production) -> None:
    contract = production.bundle.contract
    window = current_window(production.lake, production.project, contract, production.days[9])
    assert window.days == (production.days[9],)


def test_window_without_rows_is_an_error(production: Production) -> None:
    with pytest.raises(WindowError, match="has rows"):
        current_window(production.lake, production.project, production.bundle.contract, dt.date(2019, 1, 1))
