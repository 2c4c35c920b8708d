"""All features of a project for given snapshot days: who, then aggregations, attributes, and what derives of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import ibis
import pyarrow as pa

from include.features.aggregates import aggregate, used_columns
from include.features.attributes import attributes
from include.features.events import CUSTOMER, source_rows
from include.features.population import population
from include.features.reach import window_of
from include.lake import Lake, connect
from include.projects import FeatureSpec, Project
from include.projects.features import Aggregate, Attribute, DaysSince, Ratio, Share, Trend


def compute_features(project: Project, lake: Lake, days: Sequence[dt.date]) -> pa.Table:
    """Return one row per active customer and snapshot day, in the order ``dt, customer_id``.

    Nothing that happened or became known after a snapshot day has any influence on its rows.

    Args:
        project: The project.
        lake: Its lake; silver must hold the days that the windows reach back to.
        days: The snapshot days.

    Returns:
        Columns ``dt``, ``customer_id``, then every feature: doubles, or text for categories. Null means not defined.

    Raises:
        SourceDataError: A reference source has no delivery by any of the days.
    """
    engine = connect()
    rows = engine.create_table("population", population(project, lake, engine, days))
    for source, specs in _by_source(project, (Aggregate, Share)).items():
        window = max(spec.window or 0 for spec in specs)
        found = source_rows(project, source, lake, engine, window_of(days, window), used_columns(specs))
        for number, part in enumerate(aggregate(engine, found, days, specs)):
            # Materialised one by one: a single query over all would hold every intermediate result at once.
            rows = _join(rows, engine.create_table(f"part_{source}_{number}", part))
    for source, specs in _by_source(project, (Attribute, DaysSince)).items():
        part = attributes(project, source, lake, engine, days, specs)
        rows = _join(rows, engine.create_table(f"attributes_{source}", part))
    values: dict[str, ibis.Value] = {}
    for spec in project.features:
        values[spec.name] = _value(rows, spec, values, project)
    return rows.select("dt", CUSTOMER, **values).order_by("dt", CUSTOMER).to_pyarrow()


def _by_source(project: Project, kinds: tuple[type, ...]) -> dict[str, list[FeatureSpec]]:
    found: dict[str, list[FeatureSpec]] = {}
    for spec in project.features:
        if isinstance(spec.calculation, kinds):
            found.setdefault(spec.calculation.source, []).append(spec)  # type: ignore[union-attr]
    return found


def _join(rows: ibis.Table, part: ibis.Table) -> ibis.Table:
    return rows.left_join(part, ["dt", CUSTOMER]).drop("dt_right", f"{CUSTOMER}_right")


def _value(rows: ibis.Table, spec: FeatureSpec, values: dict[str, ibis.Value], project: Project) -> ibis.Value:
    calculation = spec.calculation
    if isinstance(calculation, Ratio):
        return values[calculation.numerator] / values[calculation.denominator].nullif(0.0)
    if isinstance(calculation, Trend):
        windows = {other.name: other.window or 0 for other in project.features}
        near, far = (values[name] / windows[name] for name in (calculation.near, calculation.far))
        return near / far.nullif(0.0)
    # A customer without an event has no row among the aggregates: nothing is a number there, and a mean is not.
    return rows[spec.name] if spec.nullable else rows[spec.name].fill_null(0.0)
