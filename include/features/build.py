"""All features of a project for given snapshot days: who, then aggregations, attributes, and what derives of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import ibis
import pyarrow as pa
from ibis.backends.duckdb import Backend

from include.days import DayRange
from include.features.aggregates import aggregate, at_snapshots
from include.features.events import CUSTOMER, active_days, events, reference_as_of
from include.lake import Lake, connect
from include.projects import FeatureSpec, Project
from include.projects.features import Attribute, Ratio


def compute_features(project: Project, lake: Lake, days: Sequence[dt.date]) -> pa.Table:
    """Return one row per active customer and snapshot day, in the order ``dt, customer_id``.

    Nothing that happened or became known after a snapshot day has any influence on its rows.

    Args:
        project: The project.
        lake: Its lake; silver must hold the days that the windows reach back to.
        days: The snapshot days.

    Returns:
        Columns ``dt``, ``customer_id``, then every feature: doubles, or text for categories. Null means not defined.
    """
    engine = connect()
    rows = _population(project, lake, engine, days)
    for source in sorted({spec.calculation.source for spec in project.features if _is_aggregated(spec)}):  # type: ignore[union-attr]
        specs = [spec for spec in project.features if _is_aggregated(spec) and spec.calculation.source == source]  # type: ignore[union-attr]
        window = max(spec.window or 0 for spec in specs)
        found = events(project, source, lake, engine, _reach(days, window))
        # Materialised one by one: a single query over all of them would hold every intermediate result at once.
        part = engine.create_table(f"part_{source}", aggregate(found, days, specs))
        rows = rows.left_join(part, ["dt", CUSTOMER]).drop("dt_right", f"{CUSTOMER}_right")
        rows = rows.fill_null({spec.name: 0.0 for spec in specs if not spec.nullable})
    rows = _add_attributes(project, lake, engine, rows, days)
    for spec in project.features:
        if isinstance(spec.calculation, Ratio):
            denominator = rows[spec.calculation.denominator].nullif(0.0)
            rows = rows.mutate(**{spec.name: rows[spec.calculation.numerator] / denominator})
    names = ["dt", CUSTOMER, *(spec.name for spec in project.features)]
    return rows.select(names).order_by("dt", CUSTOMER).to_pyarrow()


def _is_aggregated(spec: FeatureSpec) -> bool:
    return not isinstance(spec.calculation, Ratio | Attribute)


def _reach(days: Sequence[dt.date], window: int) -> DayRange:
    return DayRange(min(days) - dt.timedelta(days=window - 1), max(days))


def _population(project: Project, lake: Lake, engine: Backend, days: Sequence[dt.date]) -> ibis.Table:
    window = project.population.active_within_days
    found = active_days(project, project.population.source, lake, engine, _reach(days, window))
    active = at_snapshots(found, days, window)
    return engine.create_table("population", active.select("dt", CUSTOMER).distinct())


def _add_attributes(
    project: Project, lake: Lake, engine: Backend, rows: ibis.Table, days: Sequence[dt.date]
) -> ibis.Table:
    found: dict[str, list[FeatureSpec]] = {}
    for spec in project.features:
        if isinstance(spec.calculation, Attribute):
            found.setdefault(spec.calculation.source, []).append(spec)
    for source, specs in found.items():
        customer = project.sources[source].customer
        reference = reference_as_of(source, lake, engine, sorted(set(days)))
        columns = {spec.name: reference[spec.calculation.column] for spec in specs}  # type: ignore[union-attr]
        columns |= {CUSTOMER: reference[customer], "dt": reference["as_of"]}
        rows = rows.left_join(reference.select(**columns), ["dt", CUSTOMER]).drop("dt_right", f"{CUSTOMER}_right")
    return rows
