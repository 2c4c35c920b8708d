"""The charts of the page *Model health*, from the summaries of the monitored days and the incidents."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from include.monitoring.incidents import Incident
from include.monitoring.summary import DaySummary
from include.reporting.charts import Days, HeatMap, Line, LineChart, Mark, Point, Span, heat_map, line_chart
from include.training.model.contract import MetricValue

ROWS = 20
"""The largest number of rows of the heat map."""
SOURCE = "source: "

_LEVELS = (3.0, 6.0)
"""The severities from which a drifted feature has a stronger colour."""


@dataclass(frozen=True)
class Charts:
    """The charts; None for a chart without values.

    Attributes:
        auc: Realised and expected AUC by scored day.
        saving: Realised and expected saving per 1,000 customers by scored day.
        drift: Severity by feature and source and monitored day.
    """

    auc: LineChart | None
    saving: LineChart | None
    drift: HeatMap | None


def dollars(value: float) -> str:
    """Return an amount in whole US dollars.

    Example:
        >>> dollars(12345.6), dollars(-20)
        ('$12,346', '-$20')
    """
    return f"{'-' if value < 0 else ''}${abs(value):,.0f}"


def make_charts(history: Sequence[DaySummary], incidents: Sequence[Incident]) -> Charts:
    """Return the charts.

    Args:
        history: The monitored days, sorted; not empty.
        incidents: The incidents.
    """
    realised = {item.realised.last_day for item in history if item.realised}
    days = Days(min([history[0].day, *realised]), history[-1].day)
    spans = [Span(item.opened, item.last_day, f"Incident: {item.kind}") for item in incidents]
    marks = list(_marks(history))

    def chart(title: str, metric: str, show: Callable[[float], str]) -> LineChart | None:
        return line_chart(title, _lines(history, metric), days, show, spans, marks)

    return Charts(
        auc=chart("AUC", "auc", lambda value: f"{value:.3f}"),
        saving=chart("Saving per 1,000 customers", "saving_usd_per_1000", dollars),
        drift=_drift(history, days),
    )


def _lines(history: Sequence[DaySummary], metric: str) -> list[Line]:
    """Return expected and realised values by scored day, and the test's value for the realised ones."""
    realised, promised, expected = {}, {}, {}
    for summary in history:
        found = summary.realised
        if found and metric in found.metrics:
            realised[found.last_day] = found.metrics[metric]
        if found and metric in found.promised:
            promised[found.last_day] = found.promised[metric]
        if summary.expected and metric in summary.expected.metrics:
            expected[summary.day] = summary.expected.metrics[metric]
    return [
        Line("Test of the model", "promised", _points(promised.items()), band=False),
        Line("Expected", "expected", _points(expected.items())),
        Line("Realised", "realised", _points(realised.items())),
    ]


def _points(values: Iterable[tuple[dt.date, MetricValue]]) -> list[Point]:
    return [Point(day, found.value, found.low, found.high) for day, found in sorted(values, key=lambda item: item[0])]


def _marks(history: Sequence[DaySummary]) -> Iterable[Mark]:
    before = history[0].model_version
    for summary in history:
        if summary.model_version != before:
            version = summary.model_version
            yield Mark(summary.day, f"Version {version} serves", "deployed", f"v{version}")
            before = version
        if summary.retrain_reason:
            yield Mark(summary.day, f"Training requested: {summary.retrain_reason}", "requested")


def _drift(history: Sequence[DaySummary], days: Days) -> HeatMap | None:
    values: dict[str, dict[dt.date, float]] = {}
    alarming: dict[dt.date, set[str]] = {}
    informing: set[str] = set()
    counting: set[str] = set()
    for summary in history:
        for name, severity in summary.severities.items():
            values.setdefault(name, {})[summary.features_day] = severity
        alarming.setdefault(summary.features_day, set()).update(summary.drifted_features, summary.informing_features)
        informing.update(summary.informing_features)
        counting.update(summary.drifted_features)
        for source in summary.sources:
            if source.severity > 0:
                values.setdefault(SOURCE + source.name, {})[summary.day] = source.severity
            if source.exceeds:
                alarming.setdefault(summary.day, set()).add(SOURCE + source.name)
    shown = {name: found for name, found in values.items() if any(name in alarming.get(day, ()) for day in found)}
    if not shown:
        return None

    def level(name: str, day: dt.date, severity: float) -> int:
        if name not in alarming.get(day, ()):
            return 1
        return 2 + sum(severity >= limit for limit in _LEVELS)

    first = Days(history[0].day, days.last)
    return heat_map(shown, first, level, lambda name: name in informing - counting, ROWS)
