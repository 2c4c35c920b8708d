"""The time at which the retention list of a day is due."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo


def list_due(day: dt.date, list_by: dt.time, timezone: str) -> dt.datetime:
    """Return the time at which the retention list of a day is due, on the following day.

    Args:
        day: The day of the list.
        list_by: The time of day.
        timezone: The time zone of the project.

    Examples:
        >>> str(list_due(dt.date(2026, 3, 28), dt.time(7), "Europe/Berlin"))
        '2026-03-29 07:00:00+02:00'
    """
    return dt.datetime.combine(day + dt.timedelta(days=1), list_by, ZoneInfo(timezone))
