"""Features from reference sources: what a customer's row in force says, and how long ago a date in it is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import ibis
from ibis.backends.duckdb import Backend

from include.features.events import CUSTOMER, WHO
from include.features.references import one_per_customer, rows_in_force
from include.lake import Lake
from include.projects import FeatureSpec, Project
from include.projects.features import DaysSince


def attributes(
    project: Project, source: str, lake: Lake, engine: Backend, days: Sequence[dt.date], specs: Sequence[FeatureSpec]
) -> ibis.Table:
    """Return ``dt, customer_id`` and one column per spec, from the rows in force on each of ``days``.

    Args:
        project: The project.
        source: A reference source.
        lake: The lake.
        engine: The engine.
        days: The snapshot days.
        specs: Attributes and days since a date, of that source.

    Raises:
        SourceDataError: Nothing was delivered by any of the days.
    """
    columns = sorted({str(spec.calculation.column) for spec in specs})  # type: ignore[union-attr]
    rows = one_per_customer(project, source, rows_in_force(project, source, lake, engine, days, columns))
    values = {spec.name: _value(rows, spec) for spec in specs}
    return rows.select("dt", **{CUSTOMER: rows[WHO]}, **values)


def _value(rows: ibis.Table, spec: FeatureSpec) -> ibis.Value:
    column = rows[spec.calculation.column]  # type: ignore[union-attr]
    if isinstance(spec.calculation, DaysSince):
        return rows["dt"].delta(column.cast("date"), unit="day").cast("float64")
    return column.cast("string" if spec.categories else "float64")
