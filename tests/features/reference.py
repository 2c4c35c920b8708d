"""A slow, obviously right reference for features: loops over customers and events, nothing shared with the product."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable
from typing import Any

from include.projects import FeatureSpec
from include.projects.features import Aggregate, Ratio, Share

Event = dict[str, Any]  # customer, happened, known, and the source's columns


def value(spec: FeatureSpec, day: dt.date, events: Iterable[Event], others: dict[str, float | None]) -> float | None:
    """Return the feature of one customer, whose events are given."""
    calculation = spec.calculation
    if isinstance(calculation, Ratio):
        numerator, denominator = others[calculation.numerator], others[calculation.denominator]
        return numerator / denominator if numerator is not None and denominator else None
    assert spec.window is not None
    seen = [
        event
        for event in events
        if event["happened"] <= day and event["known"] <= day and (day - event["happened"]).days < spec.window
    ]
    if isinstance(calculation, Share):
        total = sum(event[calculation.of] for event in seen)
        part = sum(event[calculation.of] for event in seen if event[calculation.column] == calculation.value)
        return float(part) / float(total) if total else None
    assert isinstance(calculation, Aggregate)
    return _aggregate(calculation, day, seen)


def _aggregate(calculation: Aggregate, day: dt.date, seen: list[Event]) -> float | None:
    function = calculation.function
    days = sorted({event["happened"] for event in seen})
    if function == "count":
        return float(len(seen))
    if function == "active_days":
        return float(len(days))
    if function == "days_since_last":
        return float((day - days[-1]).days) if days else None
    if function == "days_since_first":
        return float((day - days[0]).days) if days else None
    if function == "mean_gap_days":
        return (days[-1] - days[0]).days / (len(days) - 1) if len(days) > 1 else None
    values = [event[calculation.column] for event in seen if event[calculation.column] is not None]
    if function == "count_distinct":
        return float(len(set(values)))
    if function == "sum":
        return float(sum(values))
    if not values:
        return None
    numbers = [float(number) for number in values]
    if function in ("min", "max"):
        return min(numbers) if function == "min" else max(numbers)
    mean = math.fsum(numbers) / len(numbers)
    if function == "mean":
        return mean
    if len(numbers) < 2:
        return None
    return math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / (len(numbers) - 1))
