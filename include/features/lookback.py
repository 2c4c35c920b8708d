"""Lookback: the sources and days that a gold row reads, and how many days after a change are rebuilt."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from include.days import DayRange
from include.features.aggregations import used_columns
from include.features.sql_expressions import needed_columns
from include.projects import FeatureSpec, Project
from include.projects.features import Attribute, DaysSince, Ratio, Trend


def window_days(days: Sequence[dt.date], window: int) -> DayRange:
    """Return the delivery days that a window covers from any of ``days``.

    Args:
        days: The snapshot days.
        window: The window, in days.

    Examples:
        >>> str(window_days([dt.date(2024, 1, 31)], 7))
        '2024-01-25..2024-01-31'
    """
    return DayRange(min(days) - dt.timedelta(days=window - 1), max(days))


def longest_window(project: Project) -> int | None:
    """Return the longest window of the population and the features, in days; None if the lookback is unlimited.

    The lookback is unlimited with reference sources and lookups: a delivered row is valid until the next delivery.
    """
    used = gold_sources(project)
    if any(project.sources[name].kind != "events" or project.sources[name].lookups for name in used):
        return None
    windows = [spec.window or 0 for spec in project.features]
    return max([*windows, project.population.active_within_days or 0])


def gold_sources(project: Project) -> list[str]:
    """Return the names of the sources that gold reads, including lookups, sorted."""
    used = {project.population.source}
    used |= {spec.calculation.source for spec in project.features if hasattr(spec.calculation, "source")}
    looked_up = {lookup.source for name in used for lookup in project.sources[name].lookups}
    return sorted(used | looked_up)


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


def rebuilt_days_after(project: Project) -> int:
    """Return how many gold days after a changed day are rebuilt: the longest window, limited by ``lateness_days``."""
    window = longest_window(project)
    return project.lateness_days if window is None else min(window - 1, project.lateness_days)


def silver_days(project: Project, days: DayRange) -> DayRange:
    """Return the silver days that the gold rows of ``days`` read.

    Args:
        project: The project.
        days: The gold days.
    """
    window = longest_window(project)
    first = project.first_day if window is None else days.first - dt.timedelta(days=window - 1)
    return DayRange(min(first, days.first), days.last)


def _lookup_sources(project: Project, source: str, spec: FeatureSpec) -> list[str]:
    calculation = spec.calculation
    used = {calculation.column} if isinstance(calculation, Attribute | DaysSince) else used_columns([spec])
    needed = needed_columns(project.derived_columns.get(source, []), used)
    return [lookup.source for lookup in project.sources[source].lookups if needed & set(lookup.columns)]
