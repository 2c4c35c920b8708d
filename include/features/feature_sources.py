"""The sources from whose rows each feature is computed."""

from __future__ import annotations

from include.features.aggregations import used_columns
from include.features.sql_expressions import needed_columns
from include.projects import FeatureSpec, Project
from include.projects.features import Attribute, DaysSince, Ratio, Trend


def feature_sources(project: Project) -> dict[str, tuple[str, ...]]:
    """Return the sources of each feature, sorted.

    A ratio or trend has the sources of both features from which it is computed. A feature that uses a column of a
    lookup also has the source of the lookup.

    Args:
        project: The project.
    """
    found: dict[str, set[str]] = {}
    for spec in project.features:
        calculation = spec.calculation
        if isinstance(calculation, Ratio):
            found[spec.name] = found[calculation.numerator] | found[calculation.denominator]
        elif isinstance(calculation, Trend):
            found[spec.name] = found[calculation.near] | found[calculation.far]
        else:
            found[spec.name] = {calculation.source, *_lookup_sources(project, calculation.source, spec)}
    return {name: tuple(sorted(sources)) for name, sources in found.items()}


def _lookup_sources(project: Project, source: str, spec: FeatureSpec) -> list[str]:
    calculation = spec.calculation
    used = {calculation.column} if isinstance(calculation, Attribute | DaysSince) else used_columns([spec])
    needed = needed_columns(project.derived_columns.get(source, []), used)
    return [lookup.source for lookup in project.sources[source].lookups if needed & set(lookup.columns)]
