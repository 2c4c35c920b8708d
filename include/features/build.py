"""All features of a project for given snapshot days: who, then aggregations, attributes, and what derives of them."""

from __future__ import annotations

import collections
import datetime as dt
from collections.abc import Iterator, Mapping, Sequence

import ibis
import pyarrow as pa
import pyarrow.compute as pc
from ibis.backends.duckdb import Backend

from include.features.aggregates import aggregate, used_columns
from include.features.attributes import attributes
from include.features.events import CUSTOMER, source_rows
from include.features.lookback import window_of
from include.features.population import population
from include.lake import Lake, connect
from include.projects import FeatureSpec, Project
from include.projects.features import Aggregate, Attribute, DaysSince, Ratio, Share, Trend

CELLS_AT_ONCE = 40_000_000
"""Values that a part of the features holds at most, which bounds memory; a single day is one part however many."""


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
    return pa.concat_tables(rows for _, rows in feature_parts(project, lake, days))


def feature_parts(project: Project, lake: Lake, days: Sequence[dt.date]) -> Iterator[tuple[list[dt.date], pa.Table]]:
    """Yield the rows of ``compute_features`` in parts of whole days that memory can hold, with the days of each."""
    people = population(project, lake, connect(), days).to_pyarrow()
    counts = collections.Counter(people["dt"].to_pylist())
    for part in _parts(sorted(set(days)), counts, CELLS_AT_ONCE // len(project.features)):
        # An engine of its own, so that what the part before left there is gone.
        theirs = people.filter(pc.is_in(people["dt"], value_set=pa.array(part, pa.date32())))
        yield part, _compute(project, lake, connect(), ibis.memtable(theirs), part)


def _parts(days: list[dt.date], counts: Mapping[dt.date, int], limit: int) -> list[list[dt.date]]:
    parts: list[list[dt.date]] = [[]]
    rows = 0
    for day in days:
        if parts[-1] and rows + counts.get(day, 0) > limit:
            parts.append([])
            rows = 0
        parts[-1].append(day)
        rows += counts.get(day, 0)
    return parts


def _compute(project: Project, lake: Lake, engine: Backend, rows: ibis.Table, days: list[dt.date]) -> pa.Table:
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
