"""A slow reference implementation with loops over days, customers and rows, which shares no code with the product.

A row is a dict of the columns of a source and ``dt``, the delivery day.
"""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from include.projects import FeatureSpec, Project
from include.projects.features import Aggregate, Attribute, DaysSince, Ratio, Share, Trend

Row = dict[str, Any]
Value = float | str | None


class Reference:
    """Computes the features and labels of a project row by row.

    Args:
        project: The project.
        silver: Rows by source.
        derive: Functions that add the derived columns to a row, by source.
        satisfies: Functions for the conditions of aggregations, by their SQL.
    """

    def __init__(
        self,
        project: Project,
        silver: dict[str, list[Row]],
        derive: dict[str, Callable[[Row], Row]] | None = None,
        satisfies: dict[str, Callable[[Row], bool | None]] | None = None,
    ) -> None:
        self.project, self.silver = project, silver
        self.derive, self.satisfies = derive or {}, satisfies or {}
        self.rows = {name: [self._complete(name, row) for row in silver.get(name, [])] for name in project.sources}
        self._cache: dict[tuple[str, dt.date], list[Row]] = {}
        self.by_customer: dict[tuple[str, Any], list[Row]] = {}
        for name, rows in self.rows.items():
            for row in rows:
                self.by_customer.setdefault((name, row.get(project.sources[name].customer or "")), []).append(row)

    def _day_of(self, moment: Any) -> dt.date | None:
        if not isinstance(moment, dt.datetime):
            return moment
        return moment.replace(tzinfo=dt.UTC).astimezone(ZoneInfo(self.project.timezone)).date()

    def _complete(self, name: str, row: Row) -> Row:
        for look in self.project.sources[name].lookups:
            found = [
                other
                for other in self._delivery(look.source, row["dt"])
                if other[look.by] is not None and other[look.by] == row[look.by]
            ]
            row = row | {column: found[0][column] if found else None for column in look.columns}
        return self.derive.get(name, lambda same: same)(row)

    def _delivery(self, name: str, day: dt.date) -> list[Row]:
        rows = self.silver.get(name, [])
        days = [row["dt"] for row in rows if row["dt"] <= day]
        return [row for row in rows if days and row["dt"] == max(days)]

    def in_force(self, name: str, day: dt.date) -> list[Row]:
        source = self.project.sources[name]
        if source.kind == "snapshot":
            days = [row["dt"] for row in self.rows[name] if row["dt"] <= day]
            return [row for row in self.rows[name] if days and row["dt"] == max(days)]
        latest: dict[Any, Row] = {}
        for row in self.history(name, day):
            latest[tuple(row[column] for column in source.key)] = row
        return list(latest.values())

    def history(self, name: str, day: dt.date) -> list[Row]:
        """Rows of a changes source delivered by ``day``, oldest first."""
        time = self.project.sources[name].event_time
        known = [row for row in self.rows[name] if row["dt"] <= day]
        return sorted(known, key=lambda row: (_moment(row[time]), row["dt"]))

    def row_of(self, name: str, customer: str, day: dt.date) -> Row | None:
        """The valid row of a customer: the row that changed last; on a tie, the row with the first key."""
        source = self.project.sources[name]
        theirs = [row for row in self._in_force_by_day(name, day) if row[source.customer] == customer]
        if source.kind == "changes":
            theirs.sort(key=lambda row: row[source.key[0]], reverse=True)
            theirs.sort(key=lambda row: (_moment(row[source.event_time]), row["dt"]))
        return theirs[-1] if theirs else None

    def _in_force_by_day(self, name: str, day: dt.date) -> list[Row]:
        if (name, day) not in self._cache:
            self._cache[name, day] = self.in_force(name, day)
        return self._cache[name, day]

    def population(self, day: dt.date) -> set[str]:
        config = self.project.population
        source = self.project.sources[config.source]
        if config.active_within_days is None:
            rows = self.in_force(config.source, day)
            return {
                row[source.customer] for row in rows if config.column is None or row[config.column] in config.values
            }
        return {
            row[source.customer]
            for row in self.rows[config.source]
            if row[source.customer] is not None and self._is_visible(config.source, row, day, config.active_within_days)
        }

    def _is_visible(self, name: str, row: Row, day: dt.date, window: int) -> bool:
        happened = self._day_of(row[self.project.sources[name].event_time])
        if happened is None:
            return False
        return row["dt"] <= day and happened <= day and (day - happened).days < window

    def features(self, customer: str, day: dt.date) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for spec in self.project.features:
            found[spec.name] = self._value(spec, customer, day, found)
        return found

    def _value(self, spec: FeatureSpec, customer: str, day: dt.date, others: dict[str, Value]) -> Value:
        calculation = spec.calculation
        match calculation:
            case Ratio():
                numerator, denominator = others[calculation.numerator], others[calculation.denominator]
                return numerator / denominator if numerator is not None and denominator else None
            case Trend():
                near, far = others[calculation.near], others[calculation.far]
                windows = {other.name: other.window for other in self.project.features}
                if near is None or not far:
                    return None
                return (near / windows[calculation.near]) / (far / windows[calculation.far])
            case Attribute():
                row = self.row_of(calculation.source, customer, day)
                return None if row is None else _attribute(row[calculation.column], bool(spec.categories))
            case DaysSince():
                row = self.row_of(calculation.source, customer, day)
                date = None if row is None else self._day_of(row[calculation.column])
                return None if date is None else float((day - date).days)
        source = self.project.sources[calculation.source]
        assert spec.window is not None
        seen = [
            row | {"_happened": self._day_of(row[source.event_time])}
            for row in self.by_customer.get((calculation.source, customer), [])
            if self._is_visible(calculation.source, row, day, spec.window)
        ]
        return _share(calculation, seen) if isinstance(calculation, Share) else self._aggregate(calculation, day, seen)

    def _aggregate(self, calculation: Aggregate, day: dt.date, seen: list[Row]) -> float | None:
        if calculation.where:
            seen = [row for row in seen if self.satisfies[calculation.where](row)]
        days = sorted({row["_happened"] for row in seen})
        gaps = [(later - earlier).days for earlier, later in itertools.pairwise(days)]
        match calculation.function:
            case "count":
                return float(len(seen))
            case "active_days":
                return float(len(days))
            case "days_since_last":
                return float((day - days[-1]).days) if days else None
            case "days_since_first":
                return float((day - days[0]).days) if days else None
            case "mean_gap_days":
                return sum(gaps) / len(gaps) if gaps else None
            case "max_gap_days":
                return float(max(gaps)) if gaps else None
        values = [row[calculation.column] for row in seen if row[calculation.column] is not None]
        if calculation.function == "count_distinct":
            return float(len(set(values)))
        return _statistic(calculation.function, values)

    def churned(self, customer: str, day: dt.date) -> int | None:
        label = self.project.label
        source = self.project.sources[label.source]
        end = day + dt.timedelta(days=label.horizon_days)
        known = end + dt.timedelta(days=self.project.lateness_days)
        if label.kind == "column":
            row = self.row_of(label.source, customer, day)
            return None if row is None or row[label.column] is None else int(row[label.column] == label.value)
        if label.kind == "no_event":
            return int(
                not any(
                    day < self._day_of(row[source.event_time]) <= end and row["dt"] <= known
                    for row in self.rows[label.source]
                    if row[source.customer] == customer and row[source.event_time] is not None
                )
            )
        before: dict[Any, Any] = {}
        for row in self.history(label.source, known):
            if row[source.customer] != customer:
                continue
            key = tuple(row[column] for column in source.key)
            happened = self._day_of(row[source.event_time])
            becomes = row[label.column] == label.value and before.get(key) != label.value
            if becomes and happened is not None and day < happened <= end:
                return 1
            before[key] = row[label.column]
        return 0


def _moment(value: Any) -> dt.datetime:
    if isinstance(value, dt.datetime):
        return value
    # A row without a time sorts first.
    return dt.datetime.combine(value or dt.date(1, 1, 1), dt.time())


def _text(value: Any) -> str | None:
    return str(value).lower() if isinstance(value, bool) else None if value is None else str(value)


def _attribute(value: Any, is_category: bool) -> Value:
    if value is None:
        return None
    return _text(value) if is_category else float(value)


def _share(share: Share, seen: list[Row]) -> float | None:
    weights = [(row, 1 if share.of is None else row[share.of] or 0) for row in seen]
    total = sum(weight for _, weight in weights)
    part = sum(weight for row, weight in weights if _text(row[share.column]) == share.value)
    return float(part / total) if total else None


def _statistic(function: str, values: list[Any]) -> float | None:
    # Sums of decimals and integers are exact; fsum gives the correctly rounded sum of floats.
    exact = not any(isinstance(value, float) for value in values)
    total = sum(values) if exact else math.fsum(values)
    if function == "sum":
        return float(total)
    if not values:
        return None
    if function in ("min", "max"):
        return float(min(values) if function == "min" else max(values))
    mean = float(total) / len(values)
    if function == "mean":
        return mean
    if len(values) < 2:
        return None
    return math.sqrt(math.fsum((float(value) - mean) ** 2 for value in values) / (len(values) - 1))
