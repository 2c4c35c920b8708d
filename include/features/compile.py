"""Compile the feature specifications of a project to Ibis expressions, and compute them for snapshot days.

The population gives the rows. Aggregations, shares and attributes are computed source by source and joined to them;
ratios and trends are computed from the joined features.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

import ibis
import pyarrow as pa

from include.features.age_bands import rows_at_snapshots
from include.features.aggregations import aggregate, used_columns
from include.features.lookback import window_days
from include.features.point_in_time import (
    CUSTOMER,
    CUSTOMER_ID,
    active_days,
    latest_row_per_customer,
    rows_as_of,
    source_rows,
)
from include.lake import Engine, Lake
from include.projects import FeatureSpec, Project
from include.projects.features import Aggregate, Attribute, DaysSince, Ratio, Share, Trend
from include.sources.column_types import day_of

MAX_CELLS = 40_000_000
"""Maximum number of values computed at once, which bounds memory; a single day is always computed at once."""


def compute_features(project: Project, lake: Lake, days: Sequence[dt.date]) -> pa.Table:
    """Compute the features of every customer in the population of each snapshot day.

    A row does not depend on anything that happened or was delivered after its snapshot day.

    Args:
        project: The project.
        lake: The lake; silver must hold the days that the windows cover.
        days: The snapshot days.

    Returns:
        A table sorted by ``dt`` and ``customer_id``, with these two columns and a column per feature: double, or string
        for a category. Null means that the feature is not defined for the customer.

    Raises:
        SourceDataError: A reference source has no delivery by any of the days.
    """
    return pa.concat_tables(rows for _, rows in feature_batches(project, lake, days))


def feature_batches(project: Project, lake: Lake, days: Sequence[dt.date]) -> Iterator[tuple[list[dt.date], pa.Table]]:
    """Yield the rows of ``compute_features`` in batches of whole days, each with its days and of limited size.

    Args:
        project: The project.
        lake: The lake.
        days: The snapshot days.
    """
    wanted = sorted(set(days))
    counts = _count_customers(project, lake, wanted) if len(wanted) > 1 else {}
    for batch in _batches(wanted, counts, MAX_CELLS // len(project.features)):
        # A new engine for each batch releases the tables of the previous batch.
        yield batch, _compute(project, lake, lake.connect(), batch)


def population(project: Project, lake: Lake, engine: Engine, days: Sequence[dt.date]) -> ibis.Table:
    """Return ``dt`` and ``customer_id`` of the customers who get a row on each snapshot day.

    Args:
        project: The project.
        lake: The lake.
        engine: The engine.
        days: The snapshot days.

    Raises:
        SourceDataError: The reference source of the population has no delivery by any of the days.
    """
    config = project.population
    if config.active_within_days is not None:
        rows = active_days(project, config.source, lake, engine, window_days(days, config.active_within_days))
        found = rows_at_snapshots(rows, days, [config.active_within_days])
    else:
        found = rows_as_of(project, config.source, lake, engine, days, [config.column] if config.column else [])
        if config.column and config.values:
            found = found.filter(found[config.column].cast("string").isin(config.values))
    return found.select("dt", **{CUSTOMER_ID: found[CUSTOMER]}).distinct()


def _count_customers(project: Project, lake: Lake, days: Sequence[dt.date]) -> dict[dt.date, int]:
    customers = population(project, lake, lake.connect(), days)
    found = customers.group_by("dt").agg(rows=customers.count()).to_pyarrow()
    return dict(zip(found["dt"].to_pylist(), found["rows"].to_pylist(), strict=True))


def _batches(days: list[dt.date], counts: Mapping[dt.date, int], limit: int) -> list[list[dt.date]]:
    batches: list[list[dt.date]] = [[]]
    rows = 0
    for day in days:
        if batches[-1] and rows + counts.get(day, 0) > limit:
            batches.append([])
            rows = 0
        batches[-1].append(day)
        rows += counts.get(day, 0)
    return batches


def _compute(project: Project, lake: Lake, engine: Engine, days: list[dt.date]) -> pa.Table:
    rows = engine.create_table("population", population(project, lake, engine, days), temp=True)
    for source, specs in _by_source(project, (Aggregate, Share)).items():
        window = max(spec.window or 0 for spec in specs)
        events = source_rows(project, source, lake, engine, window_days(days, window), used_columns(specs))
        for number, part in enumerate(aggregate(engine, events, days, specs)):
            # Each part is materialised, since a single query would hold every intermediate result at the same time.
            rows = _join(rows, engine.create_table(f"part_{source}_{number}", part, temp=True))
    for source, specs in _by_source(project, (Attribute, DaysSince)).items():
        part = _attributes(project, source, lake, engine, days, specs)
        rows = _join(rows, engine.create_table(f"attributes_{source}", part, temp=True))
    values: dict[str, ibis.Value] = {}
    for spec in project.features:
        values[spec.name] = _value(rows, spec, values, project)
    return rows.select("dt", CUSTOMER_ID, **values).order_by("dt", CUSTOMER_ID).to_pyarrow()


def _by_source(project: Project, kinds: tuple[type, ...]) -> dict[str, list[FeatureSpec]]:
    found: dict[str, list[FeatureSpec]] = {}
    for spec in project.features:
        if isinstance(spec.calculation, kinds):
            found.setdefault(spec.calculation.source, []).append(spec)  # type: ignore[union-attr]
    return found


def _join(rows: ibis.Table, part: ibis.Table) -> ibis.Table:
    return rows.left_join(part, ["dt", CUSTOMER_ID]).drop("dt_right", f"{CUSTOMER_ID}_right")


def _attributes(
    project: Project, source: str, lake: Lake, engine: Engine, days: Sequence[dt.date], specs: Sequence[FeatureSpec]
) -> ibis.Table:
    columns = sorted({str(spec.calculation.column) for spec in specs})  # type: ignore[union-attr]
    rows = latest_row_per_customer(project, source, rows_as_of(project, source, lake, engine, days, columns))
    values = {spec.name: _attribute(rows, spec, project.timezone) for spec in specs}
    return rows.select("dt", **{CUSTOMER_ID: rows[CUSTOMER]}, **values)


def _attribute(rows: ibis.Table, spec: FeatureSpec, zone: str) -> ibis.Value:
    column = rows[spec.calculation.column]  # type: ignore[union-attr]
    if isinstance(spec.calculation, DaysSince):
        return rows["dt"].delta(day_of(column, zone), unit="day").cast("float64")
    return column.cast("string" if spec.categories else "float64")


def _value(rows: ibis.Table, spec: FeatureSpec, values: dict[str, ibis.Value], project: Project) -> ibis.Value:
    calculation = spec.calculation
    if isinstance(calculation, Ratio):
        return values[calculation.numerator] / values[calculation.denominator].nullif(0.0)
    if isinstance(calculation, Trend):
        windows = {other.name: other.window or 0 for other in project.features}
        near, far = (values[name] / windows[name] for name in (calculation.near, calculation.far))
        return near / far.nullif(0.0)
    # A customer without an event has no row in the aggregates: a count is then 0, a mean stays null.
    return rows[spec.name] if spec.nullable else rows[spec.name].fill_null(0.0)
