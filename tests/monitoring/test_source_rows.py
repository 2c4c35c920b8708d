"""The number of rows of a source: fewer or more rows than in the weeks of the training, and days without rows."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.monitoring.source_rows import SourceRows, compare_freshness, compare_volume

FIRST = dt.date(2023, 1, 1)
DAYS = 400
WINDOW = 7
TRAINED = FIRST + dt.timedelta(days=330)
MULTIPLIER = 1.5


def at(day: int) -> dt.date:
    return FIRST + dt.timedelta(days=day)


def seasonal(seed: int = 0, mean: float = 500) -> SourceRows:
    """Return Poisson numbers with a weekly and a yearly season; the first delivery is a whole table."""
    days = np.arange(DAYS)
    usual = mean * np.where(days % 7 < 5, 1.2, 0.5) * (1 + 0.15 * np.sin(2 * np.pi * days / 365))
    rows = np.random.default_rng(seed).poisson(usual)
    rows[0] = 40 * mean
    return SourceRows(True, FIRST, rows, np.ones(DAYS, dtype=bool))


def scaled(source: SourceRows, since: int, factor: float) -> SourceRows:
    rows = source.rows.copy()
    rows[since:] = (rows[since:] * factor).astype(int)
    return replace(source, rows=rows)


def test_season_and_weekends_are_not_unusual() -> None:
    for seed in range(3):
        source = seasonal(seed)
        for day in range(365, DAYS):
            volume = compare_volume(source, at(day), TRAINED, WINDOW)
            assert volume.limit is not None
            assert volume.severity < 1
            assert compare_freshness(source, at(day), TRAINED).severity == 0


@pytest.mark.parametrize(("factor", "fell"), [(0.4, True), (2.0, False)])
def test_changed_number_of_rows_is_stated_with_its_first_day(factor: float, fell: bool) -> None:
    volume = compare_volume(scaled(seasonal(), 380, factor), at(390), TRAINED, WINDOW)
    assert volume.severity > MULTIPLIER
    assert volume.fell is fell
    assert volume.rows == pytest.approx(factor * volume.expected, rel=0.25)  # the season also changes the rows
    assert volume.since == at(380)


@pytest.mark.parametrize("mean", [5, 500])
def test_source_without_rows_exceeds_the_limit_on_its_second_day(mean: float) -> None:
    source = scaled(seasonal(mean=mean), 380, 0.0)
    severities = [compare_freshness(source, at(day), TRAINED).severity for day in (379, 380, 381, 382)]
    assert severities == [0, 1, 2, 3]
    # A model that was trained after the last rows has the same limit.
    assert compare_freshness(source, at(390), at(385)).severity == 11


def test_gaps_of_an_irregular_source_are_its_limit() -> None:
    rows = np.zeros(DAYS, dtype=int)
    rows[::9] = 300
    source = SourceRows(True, FIRST, rows, np.ones(DAYS, dtype=bool))
    latest = int(np.flatnonzero(rows[:390])[-1])
    freshness = compare_freshness(source, at(latest + 8), TRAINED)
    assert (freshness.days_without_rows, freshness.longest_gap) == (8, 8)
    assert compare_freshness(scaled(source, latest + 1, 0), at(latest + 12), TRAINED).severity == MULTIPLIER
    assert compare_volume(source, at(latest + 8), TRAINED, WINDOW).severity == 0


def test_days_that_are_not_loaded_are_not_days_without_rows() -> None:
    source = seasonal()
    loaded, rows = source.loaded.copy(), source.rows.copy()
    loaded[375:385], rows[375:385] = False, 0
    source = replace(source, loaded=loaded, rows=rows)
    assert compare_freshness(source, at(384), TRAINED).severity == 0
    assert compare_volume(source, at(388), TRAINED, WINDOW).limit is None


def test_short_history_and_few_rows_have_no_rule() -> None:
    assert compare_volume(scaled(seasonal(), 380, 0.1), at(390), at(100), WINDOW).limit is None
    assert compare_volume(scaled(seasonal(mean=1), 380, 0.1), at(390), TRAINED, WINDOW).limit is None
    empty = SourceRows(True, FIRST, np.zeros(DAYS, dtype=int), np.ones(DAYS, dtype=bool))
    assert compare_volume(empty, at(390), TRAINED, WINDOW).severity == 0
    assert compare_freshness(empty, at(390), TRAINED).newest is None


def test_a_day_before_the_training_is_not_compared_with_later_days() -> None:
    source, day = scaled(seasonal(), 250, 5), at(200)
    known = SourceRows(True, FIRST, source.rows[:201], source.loaded[:201])
    assert compare_volume(source, day, TRAINED, WINDOW) == compare_volume(known, day, TRAINED, WINDOW)


def test_snapshot_is_compared_with_the_delivery_before_the_training() -> None:
    rows = np.zeros(DAYS, dtype=int)
    rows[[0, 300, 350]] = [1000, 1100, 400]
    source = SourceRows(False, FIRST, rows, np.ones(DAYS, dtype=bool))
    volume = compare_volume(source, at(390), TRAINED, WINDOW)
    assert (volume.rows, volume.expected, volume.since) == (400, 1100, at(350))
    assert volume.severity > MULTIPLIER
    unchanged = compare_volume(source, at(349), TRAINED, WINDOW)
    assert (unchanged.rows, unchanged.severity, unchanged.since) == (1100, 0, None)
    assert compare_freshness(source, at(390), TRAINED).longest_gap is None


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(st.integers(0, 10**9), min_size=1, max_size=120),
    missing=st.sets(st.integers(0, 119)),
    is_daily=st.booleans(),
    day=st.integers(0, 119),
    trained=st.integers(-50, 200),
    window=st.integers(1, 40),
)
def test_every_history_has_a_finite_severity(
    rows: list[int], missing: set[int], is_daily: bool, day: int, trained: int, window: int
) -> None:
    loaded = np.array([position not in missing for position in range(len(rows))])
    source = SourceRows(is_daily, FIRST, np.where(loaded, rows, 0), loaded)
    day = min(day, len(rows) - 1)
    volume = compare_volume(source, at(day), at(trained), window)
    freshness = compare_freshness(source, at(day), at(trained))
    assert 0 <= volume.severity < np.inf
    assert 0 <= freshness.severity <= len(rows)
    later = replace(source, rows=source.rows.copy())
    later.rows[day + 1 :] += 1
    if trained <= day:
        assert compare_volume(later, at(day), at(trained), window) == volume
        assert compare_freshness(later, at(day), at(trained)) == freshness
