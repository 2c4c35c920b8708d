"""How far back a gold row looks, and so how far ahead a day that changes is seen."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from include.days import DayRange
from include.projects import Project


def window_of(days: Sequence[dt.date], window: int) -> DayRange:
    """Return the days whose deliveries a window of so many days can see from any of ``days``.

    Examples:
        >>> str(window_of([dt.date(2024, 1, 31)], 7))
        '2024-01-25..2024-01-31'
    """
    return DayRange(min(days) - dt.timedelta(days=window - 1), max(days))


def longest_window(project: Project) -> int | None:
    """Return the longest window of the population and the features, in days; None when they look back without end.

    That they do with reference sources and with lookups: what was delivered once holds until the next delivery.
    """
    used = gold_sources(project)
    if any(project.sources[name].kind != "events" or project.sources[name].lookups for name in used):
        return None
    windows = [spec.window or 0 for spec in project.features]
    return max([*windows, project.population.active_within_days or 0])


def gold_sources(project: Project) -> list[str]:
    """Return the sources that gold is made of, sorted, with those that they look up."""
    used = {project.population.source}
    used |= {spec.calculation.source for spec in project.features if hasattr(spec.calculation, "source")}
    looked_up = {look.source for name in used for look in project.sources[name].lookups}
    return sorted(used | looked_up)


def followed_days(project: Project) -> int:
    """Return for how many days after a day its changes are followed in gold: within reach, and within lateness."""
    window = longest_window(project)
    return project.lateness_days if window is None else min(window - 1, project.lateness_days)


def read_days(project: Project, days: DayRange) -> DayRange:
    """Return the days of silver that gold rows of ``days`` are made of."""
    window = longest_window(project)
    first = project.first_day if window is None else days.first - dt.timedelta(days=window - 1)
    return DayRange(min(first, days.first), days.last)
