"""Aggregations over windows, computed from partial aggregates of age bands.

Counts, sums, minima, maxima, sums of squares, active days and distinct counts of columns with few values combine
exactly over bands. Two aggregations need a separate pass over the rows first: a distinct count of a column with many
values keeps the youngest age of each value, and gaps between active days keep one row per day.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import ibis
import ibis.expr.datatypes as types
import pyarrow as pa
from ibis.expr.types import NumericValue, Table, Value

from include.features.age_bands import AGE, BAND, BIT, oldest_band, rows_at_snapshots
from include.features.point_in_time import CUSTOMER, CUSTOMER_ID, DELIVERY_DAY, EVENT_DAY
from include.features.sql_expressions import with_conditions
from include.lake import Engine
from include.projects import FeatureSpec
from include.projects.expressions import columns_in
from include.projects.features import Aggregate, Share

PartialKind = Literal["rows", "days", "known", "sum", "squares", "min", "max", "youngest", "oldest", "gap", "values"]

_PARTIALS: dict[str, tuple[PartialKind, ...]] = {
    "count": ("rows",),
    "sum": ("sum",),
    "mean": ("sum", "known"),
    "min": ("min",),
    "max": ("max",),
    "std": ("sum", "known", "squares"),
    "days_since_last": ("youngest",),
    "days_since_first": ("oldest",),
    "active_days": ("days",),
    "mean_gap_days": ("days", "youngest", "oldest"),
    "max_gap_days": ("gap",),
}
_COMBINED_BY = {"min": "min", "youngest": "min", "max": "max", "oldest": "max", "gap": "max", "values": "bit_or"}
_EXACT = "decimal(38, 8)"
_GAP = "_gap"  # days from an active day to the customer's next active day; null on the last active day

_MAX_ENCODED_VALUES = 62
"""Maximum number of distinct values that a signed 64-bit integer encodes with one bit each."""
_SAMPLE_ROWS = 10_000
"""Number of rows that are read first, to find out whether a column has too many distinct values to encode."""


@ibis.udf.scalar.builtin(name="bit_count")  # type: ignore[untyped-decorator]
def _bit_count(number: types.int64) -> types.int64:
    """Count the set bits of a number; the function has this name in DuckDB and in Spark."""


def aggregate(
    engine: Engine, rows: ibis.Table, snapshots: Sequence[dt.date], specs: Sequence[FeatureSpec]
) -> list[ibis.Table]:
    """Compute aggregation and share features over one source.

    Args:
        engine: The engine.
        rows: Rows of one source with ``_customer``, ``_event_day``, ``_delivery_day`` and the columns in use.
        snapshots: The snapshot days.
        specs: The aggregations and shares over that source.

    Returns:
        Tables with ``dt``, ``customer_id`` and a part of the features each. A customer without events in the longest
        window has no row.
    """
    rows, aggregates = _plan(engine, rows, specs)
    passes: dict[tuple[str, str, str], list[WindowAggregate]] = {}
    for item in aggregates:
        passes.setdefault(item.pass_key, []).append(item)
    parts = []
    for (kind, column, where), group in passes.items():
        windows = sorted({item.window for item in group})
        counted = rows.filter(rows[where]) if where else rows
        if kind == "days":
            parts.append(_combine_bands(_active_days(counted, snapshots, windows), group, windows))
        elif kind == "values":
            parts.append(_count_distinct(counted, column, snapshots, group, windows))
        else:
            parts.append(_combine_bands(rows_at_snapshots(counted, snapshots, windows), group, windows))
    return parts


def used_columns(specs: Sequence[FeatureSpec]) -> set[str]:
    """Return the source columns that aggregations and shares refer to."""
    used: set[str] = set()
    for spec in specs:
        calculation = spec.calculation
        if isinstance(calculation, Share):
            used |= {calculation.column, *filter(None, [calculation.of])}
        elif isinstance(calculation, Aggregate):
            used |= set(filter(None, [calculation.column]))
            used |= columns_in(calculation.where) if calculation.where else set()
    return used


@dataclass(frozen=True)
class PartialAggregate:
    """An aggregate of a customer's rows within one band.

    Attributes:
        kind: ``rows``: number of rows; ``days``: number of days with a row; ``youngest``, ``oldest``: age of the
            youngest or oldest row; ``gap``: longest gap between days; and of a column: ``known``: number of non-null
            values, ``sum``, ``squares``: sum of squares, ``min``, ``max``, ``values``: bitwise OR of encoded values.
        column: The column, for kinds that aggregate a column.
        where: The boolean column that selects the rows; None selects all rows.
    """

    kind: PartialKind
    column: str | None = None
    where: str | None = None

    @property
    def name(self) -> str:
        """The column that contains the partial aggregate."""
        return f"{self.kind}:{self.column or ''}:{self.where or ''}"

    def compute(self, rows: Table) -> NumericValue:
        """Return the aggregate expression over ``rows`` of one band."""
        where = rows[self.where] if self.where else None
        match self.kind:
            case "rows":
                return rows.count(where=where)
            case "days":
                return _bit_count(rows[BIT].bit_or(where=where))
            case "youngest":
                return rows[AGE].min(where=where)
            case "oldest":
                return rows[AGE].max(where=where)
            case "gap":
                return rows[_GAP].max(where=where)
            case "values":
                return rows[self.column].bit_or(where=where)
            case "known":
                return rows[self.column].count(where=where)
            case "squares":
                value = _exact(rows[self.column])
                return (value * value).sum(where=where)
            case _:
                return getattr(_number(rows[self.column]), self.kind)(where=where)

    def combine(self, bands: Table, last: int) -> NumericValue:
        """Return the expression that combines the partial aggregates of bands.

        Args:
            bands: One row per customer and band, with the partial aggregates as columns.
            last: The oldest band to include.
        """
        return getattr(bands[self.name], _COMBINED_BY.get(self.kind, "sum"))(where=bands[BAND] <= last)


@dataclass(frozen=True)
class WindowAggregate:
    """An aggregation or share over one window.

    Attributes:
        name: The feature.
        window: The window, in days.
        calculation: The calculation in features.yaml.
        where: The boolean column that selects the rows, or the rows that a share counts; None selects all rows.
        encoded: The column with the values encoded as bits, for a distinct count; None if there are too many values.
    """

    name: str
    window: int
    calculation: Aggregate | Share
    where: str | None
    encoded: str | None = None

    @property
    def pass_key(self) -> tuple[str, str, str]:
        """The pass that computes the feature: ``rows``, ``days`` or ``values``, with its column and condition."""
        function, column, where = self.calculation.function, self.calculation.column or "", self.where or ""
        if function == "max_gap_days":
            return "days", "", where
        if function == "count_distinct" and not self.encoded:
            return "values", column, where
        return "rows", "", ""

    def partials(self) -> list[PartialAggregate]:
        """Return the partial aggregates of each band that the feature needs."""
        calculation = self.calculation
        if isinstance(calculation, Share):
            kind: PartialKind = "sum" if calculation.of else "rows"
            return [PartialAggregate(kind, calculation.of), PartialAggregate(kind, calculation.of, self.where)]
        if calculation.function == "count_distinct":
            return [PartialAggregate("values", self.encoded, self.where)]
        # The pass over days has applied the condition already.
        where = None if calculation.function == "max_gap_days" else self.where
        return [PartialAggregate(kind, calculation.column, where) for kind in _PARTIALS[calculation.function]]

    def value(self, combined: Callable[[PartialAggregate], NumericValue]) -> NumericValue:
        """Return the feature, a double.

        Args:
            combined: Returns the value of a partial aggregate over the window.
        """
        found = [combined(partial) for partial in self.partials()]
        numbers = [value.cast("float64") for value in found]
        match self.calculation.function:
            case "share":
                return numbers[1].fill_null(0.0) / numbers[0].nullif(0.0)
            case "mean":
                return numbers[0] / numbers[1].nullif(0.0)
            case "std":
                return _standard_deviation(*found)
            case "count_distinct":
                return _bit_count(found[0]).cast("float64")
            case "mean_gap_days":
                days, youngest, oldest = numbers
                return (oldest - youngest) / (days - 1).nullif(0.0)
            case _:
                return numbers[0]


def _plan(engine: Engine, rows: ibis.Table, specs: Sequence[FeatureSpec]) -> tuple[ibis.Table, list[WindowAggregate]]:
    # Adds the columns of encoded values, conditions and shares to the rows.
    distinct = {str(spec.calculation.column) for spec in specs if spec.calculation.function == "count_distinct"}
    rows, encoded = _encode_values(engine, rows, sorted(distinct))
    conditions: dict[str, str] = {}  # SQL -> column
    shares: dict[tuple[str, str], str] = {}  # column and value -> column
    aggregates = []
    for spec in specs:
        calculation, where = spec.calculation, None
        if isinstance(calculation, Share):
            where = shares.setdefault((calculation.column, calculation.value), f"_share_{len(shares)}")
        elif isinstance(calculation, Aggregate) and calculation.where:
            where = conditions.setdefault(calculation.where, f"_where_{len(conditions)}")
        bits = encoded.get(str(calculation.column)) if calculation.function == "count_distinct" else None
        item = WindowAggregate(spec.name, spec.window or 0, calculation, where, bits)  # type: ignore[arg-type]
        aggregates.append(item)
    rows = with_conditions(rows, engine, {name: sql for sql, name in conditions.items()})
    equals = {name: (rows[column].cast("string") == value).fill_null(False) for (column, value), name in shares.items()}
    return (rows.mutate(**equals) if equals else rows), aggregates


def _encode_values(engine: Engine, rows: ibis.Table, columns: Sequence[str]) -> tuple[ibis.Table, dict[str, str]]:
    # A column with few distinct values becomes one bit per value, which needs no separate pass.
    encoded: dict[str, str] = {}
    for column in columns:
        values = rows.select(value=rows[column]).filter(rows[column].notnull())
        if engine.to_pyarrow(values.limit(_SAMPLE_ROWS).distinct().count()).as_py() > _MAX_ENCODED_VALUES:
            continue
        found = engine.to_pyarrow(values.distinct().order_by("value").limit(_MAX_ENCODED_VALUES + 1))
        if found.num_rows <= _MAX_ENCODED_VALUES:
            encoded[column] = f"_bits_{len(encoded)}"
            numbers = pa.array([1 << number for number in range(found.num_rows)], pa.int64())
            codes = ibis.memtable(pa.table({"_value": found["value"], encoded[column]: numbers}))
            rows = rows.left_join(codes, [(column, "_value")]).drop("_value")
    return rows, encoded


def _combine_bands(rows: ibis.Table, aggregates: Sequence[WindowAggregate], windows: Sequence[int]) -> ibis.Table:
    partials = {partial.name: partial for item in aggregates for partial in item.partials()}
    bands = rows.group_by("dt", CUSTOMER, BAND).agg(
        **{name: partial.compute(rows) for name, partial in partials.items()}
    )

    def value(item: WindowAggregate) -> ibis.Value:
        last = oldest_band(item.window, windows)
        return item.value(lambda partial: partial.combine(bands, last))

    return bands.group_by("dt", **{CUSTOMER_ID: bands[CUSTOMER]}).agg(**{item.name: value(item) for item in aggregates})


def _active_days(rows: ibis.Table, snapshots: Sequence[dt.date], windows: Sequence[int]) -> ibis.Table:
    # One row per active day, visible from the delivery of the day's first event, with the gap to the next visible day.
    days = rows.group_by(CUSTOMER, EVENT_DAY).agg(**{DELIVERY_DAY: rows[DELIVERY_DAY].min()})
    visible = rows_at_snapshots(days, snapshots, windows)
    younger = visible[AGE].lag().over(group_by=["dt", CUSTOMER], order_by=visible[AGE])
    return visible.mutate(**{_GAP: visible[AGE] - younger})


def _count_distinct(
    rows: ibis.Table,
    column: str,
    snapshots: Sequence[dt.date],
    aggregates: Sequence[WindowAggregate],
    windows: Sequence[int],
) -> ibis.Table:
    present = rows.filter(rows[column].notnull()).select(CUSTOMER, EVENT_DAY, DELIVERY_DAY, _value=rows[column])
    visible = rows_at_snapshots(present, snapshots, windows)
    values = visible.group_by("dt", CUSTOMER, "_value").agg(**{BAND: visible[BAND].min()})
    counts = {
        item.name: (values[BAND] <= oldest_band(item.window, windows)).sum().cast("float64") for item in aggregates
    }
    return values.group_by("dt", **{CUSTOMER_ID: values[CUSTOMER]}).agg(**counts)


def _number(column: Value) -> NumericValue:
    return column.cast("int64") if column.type().is_boolean() else column


def _exact(column: Value) -> NumericValue:
    # A decimal wide enough for the exact product of two values.
    number = _number(column)
    return number.cast(f"decimal(38, {0 if number.type().is_integer() else number.type().scale})")


def _standard_deviation(total: NumericValue, known: NumericValue, squares: NumericValue) -> NumericValue:
    # A variance computed from sums of squares about zero loses digits if the values hardly differ. These sums are exact
    # decimals, so they can be shifted to the rounded mean m without loss: sum (x - m)^2 = sum x^2 - 2 m sum x + n m^2.
    n = known.cast("float64")
    mean = total.cast("float64") / n.nullif(0.0)
    rounded = mean.round(4).cast("decimal(38, 4)")
    twice = (rounded * total.cast("decimal(38, 4)")).cast(_EXACT) * 2
    square = (rounded * rounded).cast(_EXACT) * known.cast("decimal(38, 0)")
    shifted = (squares.cast(_EXACT) - twice.cast(_EXACT) + square.cast(_EXACT)).cast("float64")
    rest = mean - rounded.cast("float64")
    variance = (shifted - n * rest * rest) / (n - 1).nullif(0.0)
    return variance.clip(lower=0.0).sqrt()
