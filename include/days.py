"""Days and ranges of days, which are arguments of all functions that process data.

A day ``D`` stands for its end: events on ``D`` are known, later events are not.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass

from include.errors import ChurnflowError


class DayError(ChurnflowError):
    """An invalid day or an invalid range of days."""


def parse_day(text: str) -> dt.date:
    """Parse a day in the form ``YYYY-MM-DD``.

    Raises:
        DayError: The text does not have this form.

    Examples:
        >>> parse_day("2017-12-24")
        datetime.date(2017, 12, 24)
    """
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise DayError(f"{text!r} is not a day.", where="a day argument", remedy="Write it as YYYY-MM-DD.") from error


@dataclass(frozen=True)
class DayRange:
    """The days from ``first`` to ``last``, inclusive.

    Examples:
        >>> len(DayRange.parse("2017-01-01", "2017-01-31"))
        31
    """

    first: dt.date
    last: dt.date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise DayError(
                f"The range ends ({self.last}) before it starts ({self.first}).",
                where="a range of days",
                remedy="Pass the earlier day first.",
            )

    @classmethod
    def parse(cls, first: str, last: str) -> DayRange:
        """Parse a range of days.

        Args:
            first: The first day, ``YYYY-MM-DD``.
            last: The last day, ``YYYY-MM-DD``.

        Raises:
            DayError: A day is invalid, or the range ends before it starts.
        """
        return cls(parse_day(first), parse_day(last))

    @classmethod
    def single(cls, day: dt.date) -> DayRange:
        """Return the range of one day."""
        return cls(day, day)

    @classmethod
    def ending(cls, last: dt.date, days: int) -> DayRange:
        """Return the range of a number of days that ends with ``last``.

        Args:
            last: The last day.
            days: The number of days.
        """
        return cls(last - dt.timedelta(days=days - 1), last)

    def blocks(self, days: int) -> Iterator[DayRange]:
        """Split the range into ranges of ``days`` days; the last range may be shorter.

        Examples:
            >>> [str(block) for block in DayRange.parse("2017-01-01", "2017-01-05").blocks(2)]
            ['2017-01-01..2017-01-02', '2017-01-03..2017-01-04', '2017-01-05']
        """
        for offset in range(0, len(self), days):
            first = self.first + dt.timedelta(days=offset)
            yield DayRange(first, min(first + dt.timedelta(days=days - 1), self.last))

    def __iter__(self) -> Iterator[dt.date]:
        for offset in range(len(self)):
            yield self.first + dt.timedelta(days=offset)

    def __len__(self) -> int:
        return (self.last - self.first).days + 1

    def __contains__(self, day: object) -> bool:
        return isinstance(day, dt.date) and self.first <= day <= self.last

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}..{self.last}"
