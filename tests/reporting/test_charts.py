from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.reporting import html_templates
from include.reporting.charts import Days, Line, LineChart, Mark, Point, Span, heat_map, line_chart

FIRST = dt.date(2026, 1, 1)
TEN = Days(FIRST, FIRST + dt.timedelta(days=9))


def on(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def points(*values: float, start: int = 0) -> list[Point]:
    return [Point(on(start + number), value, value - 1, value + 1) for number, value in enumerate(values)]


def chart(
    lines: list[Line], days: Days = TEN, spans: list[Span] | None = None, marks: list[Mark] | None = None
) -> LineChart:
    drawn = line_chart("AUC", lines, days, lambda value: f"{value:g}", spans or [], marks or [])
    assert drawn is not None
    return drawn


def positions(path: str) -> list[tuple[float, float]]:
    return [(float(left), float(top)) for left, top in re.findall(r"([\d.e-]+) ([\d.e-]+)", path)]


def test_points_are_in_the_middle_of_their_days_and_at_the_height_of_their_values() -> None:
    drawn = chart([Line("Realised", "realised", points(1, 2, 3, 4), band=False)])
    assert [label for _, label in drawn.rows] == ["1", "2", "3", "4"]
    assert [left for left, _ in positions(drawn.lines[0].path)] == [5, 15, 25, 35]
    tops = {label: top for top, label in drawn.rows}
    assert [top for _, top in positions(drawn.lines[0].path)] == [tops[label] for label in "1234"]
    assert (tops["1"], tops["4"]) == (100, 0)


def test_line_ends_at_a_long_gap_and_a_single_point_is_a_dot() -> None:
    drawn = chart([Line("Realised", "realised", [*points(1, 2, 3), *points(4, start=8)])])
    assert drawn.lines[0].path.count("M") == 2
    assert drawn.lines[0].path.endswith("h0")
    assert drawn.lines[0].band.count("M") == 1, "a single point has no band"


def test_values_and_events_of_a_day_are_in_its_tooltip() -> None:
    drawn = chart(
        [Line("Expected", "expected", points(5, 6)), Line("Test", "promised", points(7, 7), band=False)],
        spans=[Span(on(1), on(4), "Incident: drift")],
        marks=[Mark(on(0), "Version 2 serves", "deployed", "v2")],
    )
    texts = [hit.text for hit in drawn.hits]
    assert texts[:2] == [
        "2026-01-01\nExpected: 5 (4 to 6)\nTest: 7\nVersion 2 serves",
        "2026-01-02\nExpected: 6 (5 to 7)\nTest: 7\nIncident: drift",
    ]
    assert len(texts) == 5
    assert drawn.description == "Expected: 5 to 6, 6 on 2026-01-02. Test: 7 to 7, 7 on 2026-01-02."


def test_nothing_outside_the_days_is_drawn() -> None:
    drawn = chart(
        [Line("Realised", "realised", [*points(90, start=-3), *points(1, 2)])],
        spans=[Span(on(-5), on(1), "early"), Span(on(-9), on(-8), "before")],
        marks=[Mark(on(-1), "before", "deployed"), Mark(on(10), "after", "deployed")],
    )
    assert [(span.left, span.width) for span in drawn.spans] == [(0, 20)]
    assert drawn.marks == ()
    assert max(float(label) for _, label in drawn.rows) < 90


def test_labels_of_near_marks_do_not_overlap() -> None:
    days = Days(FIRST, on(99))
    marks = [Mark(on(number), "serves", "deployed", f"v{number}") for number in (10, 12, 20)]
    drawn = chart([Line("Realised", "realised", points(1, 2))], days, marks=marks)
    assert [mark.label for mark in drawn.marks] == ["v10", "", "v20"]


def test_no_chart_without_points() -> None:
    assert line_chart("AUC", [Line("Realised", "realised", [])], TEN, str) is None


@given(
    st.lists(
        st.tuples(st.integers(0, 400), st.floats(-1e9, 1e9), st.floats(0, 1e9)),
        min_size=1,
        unique_by=lambda item: item[0],
    )
)
def test_everything_is_inside_the_chart(values: list[tuple[int, float, float]]) -> None:
    found = [Point(on(number), value, value - half, value + half) for number, value, half in sorted(values)]
    days = Days(found[0].day, found[-1].day)
    drawn = chart([Line("Realised", "realised", found)], days)
    places = positions(drawn.lines[0].path) + (positions(drawn.lines[0].band) if drawn.lines[0].band else [])
    assert all(0 <= left <= 100 and -0.1 <= top <= 100.1 for left, top in places)
    assert 2 <= len(drawn.rows) <= 7
    assert all(0 <= left <= 100 for left, _ in drawn.ticks)
    assert len(drawn.ticks) <= 6
    assert all(hit.left + hit.width <= 100.2 for hit in drawn.hits)


def test_heat_map_shows_the_rows_with_the_largest_values_and_the_important_first() -> None:
    values = {
        "low": {on(0): 1.0},
        "high": {on(0): 9.0, on(3): 2.0},
        "quiet": {on(1): 99.0},
        "middle": {on(2): 5.0},
    }
    drawn = heat_map(values, TEN, lambda name, day, value: int(value > 4) + 1, lambda name: name == "quiet", most=3)
    assert [row.name for row in drawn.rows] == ["high", "middle", "low"]
    assert drawn.hidden == 1
    assert not drawn.weekly
    assert [(cell.left, cell.width, cell.level, cell.text) for cell in drawn.rows[0].cells] == [
        (0, 10, 2, "high, 2026-01-01: 9.0"),
        (30, 10, 1, "high, 2026-01-04: 2.0"),
    ]
    everything = heat_map(values, TEN, lambda name, day, value: 1, lambda name: name == "quiet", most=9)
    assert [(row.name, row.quiet) for row in everything.rows][-1] == ("quiet", True)


def test_heat_map_of_a_year_shows_the_largest_value_of_each_week() -> None:
    year = Days(FIRST, on(364))
    values = {"spend": {on(number): float(number % 7) for number in range(365)}}
    (row,) = heat_map(values, year, lambda name, day, value: int(value), lambda name: False, most=1).rows
    assert len(row.cells) == 53
    assert {cell.level for cell in row.cells[:-1]} == {6}


@pytest.mark.parametrize(
    ("first", "last", "labels"),
    [
        ("2026-01-01", "2026-01-04", ["01 Jan", "02 Jan", "03 Jan", "04 Jan"]),
        ("2025-11-20", "2026-11-19", ["Dec 2025", "Mar 2026", "Jun", "Sep"]),
    ],
)
def test_days_are_labelled(first: str, last: str, labels: list[str]) -> None:
    days = Days(dt.date.fromisoformat(first), dt.date.fromisoformat(last))
    assert [label for _, label in days.ticks()] == labels


def test_drawn_charts_escape_names(tmp_path: Path) -> None:
    hostile = "</title><script>alert(1)</script>\"'"
    (tmp_path / "own.html").write_text(
        '{% from "charts.html" import line_chart, heat_map %}{{ line_chart(line) }}{{ heat_map(heat) }}'
    )
    line = chart([Line(hostile, "realised", points(1, 2))], marks=[Mark(on(1), hostile, "requested")])
    heat = heat_map({hostile: {on(0): 2.0}}, TEN, lambda name, day, value: 2, lambda name: False, most=5)
    page = html_templates(tmp_path).get_template("own.html").render(line=line, heat=heat)
    assert "<script" not in page
    assert "</title><" not in page.replace("</title></rect>", "")
    assert page.count("<svg") == 2
