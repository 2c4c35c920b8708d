"""The geometry of charts that the template ``charts.html`` draws as inline SVG.

Horizontal positions are percentages of the chart's width and vertical positions are percentages of its height, so that
a chart fits every width while its text keeps its size. Pages without scripts show values as tooltips of the browser.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from statistics import median

from include.days import DayRange

_TICKS = 5
_LABEL_DISTANCE = 5.0
"""The smallest distance between two labels of marks, in per cent of the width."""
_LONG_GAP = 3
"""A line ends where the distance to the next point exceeds this multiple of the median distance."""
_WEEKLY_FROM = 100
"""The number of days from which a column of a heat map is a week."""


@dataclass(frozen=True)
class Point:
    """A value at a day, and the ends of its interval."""

    day: dt.date
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """A line with a band.

    Attributes:
        name: The name in the legend.
        style: The class of the line in ``charts.html``: ``realised``, ``expected`` or ``promised``.
        points: The points, sorted by day.
        band: Whether the intervals are drawn.
    """

    name: str
    style: str
    points: Sequence[Point]
    band: bool = True


@dataclass(frozen=True)
class Span:
    """Days with a state, such as an open incident, drawn as a background.

    Attributes:
        first: The first day.
        last: The last day.
        text: The state in words.
    """

    first: dt.date
    last: dt.date
    text: str


@dataclass(frozen=True)
class Mark:
    """An event on a day.

    Attributes:
        day: The day.
        text: The event in words.
        style: The class of the mark in ``charts.html``: ``deployed`` or ``requested``.
        label: A short label; empty for none.
    """

    day: dt.date
    text: str
    style: str
    label: str = ""


class Days(DayRange):
    """The days of a horizontal axis."""

    def left(self, day: dt.date) -> float:
        """Return the position at which ``day`` begins."""
        return round(100 * (day - self.first).days / len(self), 3)

    def middle(self, day: dt.date) -> float:
        """Return the position of the middle of ``day``."""
        return round(100 * ((day - self.first).days + 0.5) / len(self), 3)

    def ticks(self) -> list[tuple[float, str]]:
        """Return the positions and labels of about five days: the first days of months, or days of a shorter range."""
        months = [day for day in self if day.day == 1 and 2 <= self.middle(day) <= 96]
        if len(months) >= _TICKS - 1:
            shown = months[:: math.ceil(len(months) / _TICKS)]
            years = [None, *(day.year for day in shown)]
            return [
                (self.middle(day), f"{day:%b}" if day.year == year else f"{day:%b %Y}")
                for day, year in zip(shown, years, strict=False)
            ]
        step = math.ceil(len(self) / _TICKS)
        return [(self.middle(day), f"{day:%d %b}") for day in islice(self, step // 2, None, step)]


@dataclass(frozen=True)
class DrawnLine:
    """A line as SVG paths, with horizontal positions of 0 to 100 and vertical positions of 0 to 100 from above."""

    style: str
    path: str
    band: str


@dataclass(frozen=True)
class Area:
    """A rectangle over the whole height, with a tooltip."""

    left: float
    width: float
    text: str


@dataclass(frozen=True)
class DrawnMark:
    """A mark at a position, with a label if there is room for one."""

    left: float
    style: str
    label: str


@dataclass(frozen=True)
class LineChart:
    """A drawn chart of lines.

    Attributes:
        title: The title.
        description: The text alternative.
        lines: The lines.
        rows: The positions and labels of the vertical axis.
        ticks: The positions and labels of the days.
        spans: The states.
        marks: The events.
        hits: One area for each day, with the values of the day as its tooltip.
    """

    title: str
    description: str
    lines: tuple[DrawnLine, ...]
    rows: tuple[tuple[float, str], ...]
    ticks: tuple[tuple[float, str], ...]
    spans: tuple[Area, ...]
    marks: tuple[DrawnMark, ...]
    hits: tuple[Area, ...]


def line_chart(
    title: str,
    lines: Sequence[Line],
    days: Days,
    show: Callable[[float], str],
    spans: Sequence[Span] = (),
    marks: Sequence[Mark] = (),
) -> LineChart | None:
    """Return a chart of lines; None if no line has points.

    Args:
        title: The title.
        lines: The lines.
        days: The days of the horizontal axis; points, spans and marks outside are left out.
        show: Returns a value as text.
        spans: The states.
        marks: The events, sorted by day.
    """
    lines = [_within(line, days) for line in lines]
    values = [end for line in lines for point in line.points for end in _ends(point, line.band)]
    if not values:
        return None
    levels = _levels(min(values), max(values))
    low, high = levels[0], levels[-1]

    def top(value: float) -> float:
        return round(100 * (high - value) / (high - low), 2)

    return LineChart(
        title=title,
        description=_described(lines, show),
        lines=tuple(_drawn_line(line, days, top) for line in lines if line.points),
        rows=tuple((top(level), show(level)) for level in levels),
        ticks=tuple(days.ticks()),
        spans=tuple(_area(span, days) for span in spans if span.last >= days.first and span.first <= days.last),
        marks=tuple(_drawn_marks([mark for mark in marks if mark.day in days], days)),
        hits=tuple(_hits(lines, days, show, spans, marks)),
    )


@dataclass(frozen=True)
class Cell:
    """A cell of a heat map: its column, the class of its colour, and its tooltip."""

    left: float
    width: float
    level: int
    text: str


@dataclass(frozen=True)
class HeatRow:
    """A row of a heat map.

    Attributes:
        name: The name.
        quiet: Whether the row is less important.
        cells: The cells that are not empty.
    """

    name: str
    quiet: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class HeatMap:
    """A drawn heat map.

    Attributes:
        description: The text alternative.
        rows: The rows.
        ticks: The positions and labels of the days.
        weekly: Whether a column is a week; its cells show the largest value of the week.
        hidden: The number of rows that are not shown.
    """

    description: str
    rows: tuple[HeatRow, ...]
    ticks: tuple[tuple[float, str], ...]
    weekly: bool
    hidden: int


def heat_map(
    values: Mapping[str, Mapping[dt.date, float]],
    days: Days,
    level: Callable[[str, dt.date, float], int],
    quiet: Callable[[str], bool],
    most: int,
) -> HeatMap:
    """Return a heat map of the rows with the largest values, the important rows first.

    Args:
        values: The values by row and day.
        days: The days of the horizontal axis.
        level: Returns the class of a value's colour, from 1.
        quiet: Returns whether a row is less important.
        most: The largest number of rows.
    """
    weekly = len(days) > _WEEKLY_FROM
    step = 7 if weekly else 1
    order = sorted(values, key=lambda name: (quiet(name), -max(values[name].values(), default=0.0), name))
    rows = []
    for name in order[:most]:
        columns: dict[int, tuple[float, dt.date]] = {}
        for day, value in values[name].items():
            if day in days:
                column = (day - days.first).days // step
                columns[column] = max(columns.get(column, (value, day)), (value, day))
        width = 100 * step / len(days)
        cells = tuple(
            Cell(round(number * width, 3), round(width, 3), level(name, day, value), f"{name}, {day}: {value:.1f}")
            for number, (value, day) in sorted(columns.items())
        )
        rows.append(HeatRow(name, quiet(name), cells))
    largest = ", ".join(f"{name} {max(values[name].values(), default=0.0):.1f}" for name in order[:3])
    described = f"Severity by feature and day, from {days.first} to {days.last}. Largest severities: {largest}."
    return HeatMap(described, tuple(rows), tuple(days.ticks()), weekly, max(0, len(order) - most))


def _within(line: Line, days: Days) -> Line:
    points = [point for point in line.points if point.day in days]
    return Line(line.name, line.style, points, line.band)


def _ends(point: Point, band: bool) -> tuple[float, ...]:
    return (point.low, point.high) if band else (point.value,)


def _levels(low: float, high: float) -> list[float]:
    """Return about five round numbers at equal distances, from at most ``low`` to at least ``high``."""
    spread = max(high - low, 1e-6 * max(abs(low), abs(high)), 1e-9)  # equal values also have a scale
    power = 10 ** math.floor(math.log10(spread / (_TICKS - 1)))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor * (_TICKS - 1) >= spread)
    first = math.floor(low / step)
    last = max(first + 1, math.ceil(high / step))
    return [number * step for number in range(first, last + 1)]


def _drawn_line(line: Line, days: Days, top: Callable[[float], float]) -> DrawnLine:
    path, band = [], []
    for part in _parts(line.points):
        places = [(days.middle(point.day), point) for point in part]
        # A line of length zero is drawn as a dot.
        path.append("M" + "L".join(f"{left} {top(point.value)}" for left, point in places) + "h0" * (len(places) == 1))
        if line.band and len(places) > 1:
            upper = [f"{left} {top(point.high)}" for left, point in places]
            lower = [f"{left} {top(point.low)}" for left, point in reversed(places)]
            band.append("M" + "L".join(upper + lower) + "Z")
    return DrawnLine(line.style, "".join(path), "".join(band))


def _parts(points: Sequence[Point]) -> list[list[Point]]:
    gaps = [(later.day - point.day).days for point, later in pairwise(points)]
    longest = _LONG_GAP * median(gaps) if gaps else 0
    parts = [[points[0]]]
    for gap, point in zip(gaps, points[1:], strict=True):
        if gap > longest:
            parts.append([])
        parts[-1].append(point)
    return parts


def _area(span: Span, days: Days) -> Area:
    first, last = max(span.first, days.first), min(span.last, days.last)
    return Area(days.left(first), round(100 * ((last - first).days + 1) / len(days), 3), span.text)


def _drawn_marks(marks: Sequence[Mark], days: Days) -> list[DrawnMark]:
    drawn: list[DrawnMark] = []
    labelled = -_LABEL_DISTANCE
    for mark in marks:
        left = days.middle(mark.day)
        has_room = bool(mark.label) and left - labelled >= _LABEL_DISTANCE
        labelled = left if has_room else labelled
        drawn.append(DrawnMark(left, mark.style, mark.label if has_room else ""))
    return drawn


def _hits(
    lines: Sequence[Line], days: Days, show: Callable[[float], str], spans: Sequence[Span], marks: Sequence[Mark]
) -> list[Area]:
    texts: dict[dt.date, list[str]] = {}
    for line in lines:
        for point in line.points:
            interval = f" ({show(point.low)} to {show(point.high)})" if line.band else ""
            texts.setdefault(point.day, []).append(f"{line.name}: {show(point.value)}{interval}")
    for mark in marks:
        texts.setdefault(mark.day, []).append(mark.text)
    for span in spans:
        for day in DayRange(span.first, span.last):
            texts.setdefault(day, []).append(span.text)
    width = round(100 / len(days), 3)
    return [
        Area(days.left(day), width, "\n".join([str(day), *found]))
        for day, found in sorted(texts.items())
        if day in days
    ]


def _described(lines: Sequence[Line], show: Callable[[float], str]) -> str:
    sentences = []
    for line in lines:
        if line.points:
            last, values = line.points[-1], [point.value for point in line.points]
            sentences.append(
                f"{line.name}: {show(min(values))} to {show(max(values))}, {show(last.value)} on {last.day}."
            )
    return " ".join(sentences)
