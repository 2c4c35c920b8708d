"""Who gets a gold row on a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import ibis
from ibis.backends.duckdb import Backend

from include.days import DayRange
from include.features.bands import at_snapshots
from include.features.events import CUSTOMER, HAPPENED, KNOWN, WHO, source_rows
from include.features.lookback import window_of
from include.features.references import rows_in_force
from include.lake import Lake
from include.projects import Project


def population(project: Project, lake: Lake, engine: Backend, days: Sequence[dt.date]) -> ibis.Table:
    """Return ``dt, customer_id`` for the customers who are active on each of ``days``.

    Raises:
        SourceDataError: The population's reference source has no delivery by any of the days.
    """
    config = project.population
    if config.active_within_days is not None:
        rows = active_days(project, config.source, lake, engine, window_of(days, config.active_within_days))
        found = at_snapshots(rows, days, [config.active_within_days])
    else:
        found = rows_in_force(project, config.source, lake, engine, days, [config.column] if config.column else [])
        if config.column and config.values:
            found = found.filter(found[config.column].cast("string").isin(config.values))
    return found.select("dt", **{CUSTOMER: found[WHO]}).distinct()


def active_days(project: Project, name: str, lake: Lake, engine: Backend, days: DayRange) -> ibis.Table:
    """Return who had an event of source ``name`` on which day, and when that was first known."""
    rows = source_rows(project, name, lake, engine, days)
    return rows.group_by(WHO, HAPPENED).agg(**{KNOWN: rows[KNOWN].min()})
