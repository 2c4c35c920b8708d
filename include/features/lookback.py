"""Lookback: how many days before a snapshot its gold row reads, and how many days after a change are rebuilt."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from include.days import DayRange
from include.projects import Project


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
