"""Aggregations over windows, for many snapshot days in one pass.

Events are first reduced to one row per customer and day, which is exact for counts, sums, extremes and squares. Only
these few rows meet the snapshot days, through a small table of which day is how old at which snapshot: a hash join.

A distinct count needs no distinct. An event counts for its value from the day it is known until a younger event of the
same value supersedes it, so at every snapshot each value is counted once, at its youngest age.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import ibis
import pyarrow as pa
from ibis.expr.types import BooleanValue, NumericValue

from include.features.events import CUSTOMER, HAPPENED, KNOWN
from include.projects import FeatureSpec
from include.projects.features import Aggregate, Share

_OF_COLUMN = ("sum", "mean", "min", "max", "std")


def aggregate(events: ibis.Table, snapshots: Sequence[dt.date], specs: Sequence[FeatureSpec]) -> ibis.Table:
    """Return ``dt, customer_id`` and one column per spec, for customers with an event in the longest window.

    Args:
        events: Rows of one source with ``customer_id``, ``happened`` and ``known`` beside its columns.
        snapshots: The snapshot days.
        specs: Aggregations and shares over that source.
    """
    distinct = [spec for spec in specs if spec.calculation.function == "count_distinct"]
    others = [spec for spec in specs if spec.calculation.function != "count_distinct"]
    parts = [_accumulate(events, snapshots, others)] if others else []
    by_column: dict[str, list[FeatureSpec]] = {}
    for spec in distinct:
        by_column.setdefault(str(getattr(spec.calculation, "column", None)), []).append(spec)
    parts += [_count_distinct(events, snapshots, column, group) for column, group in by_column.items()]
    result = parts[0]
    for part in parts[1:]:
        # All parts come from the same events and windows, yet a column may be null throughout a customer's rows.
        result = result.outer_join(part, ["dt", CUSTOMER])
        result = result.mutate(
            dt=ibis.coalesce(result["dt"], result["dt_right"]),
            **{CUSTOMER: ibis.coalesce(result[CUSTOMER], result[f"{CUSTOMER}_right"])},
        ).drop("dt_right", f"{CUSTOMER}_right")
    return result


def _longest(specs: Sequence[FeatureSpec]) -> int:
    return max(spec.window or 0 for spec in specs)


def ages(snapshots: Sequence[dt.date], window: int) -> ibis.Table:
    """Return ``happened, dt, age``: every day within ``window`` of a snapshot day, and how old it is there.

    Age 0 is the snapshot day itself; a window of ``w`` days holds the ages below ``w``.
    """
    pairs = [(day - dt.timedelta(days=age), day, age) for day in sorted(set(snapshots)) for age in range(window)]
    happened, days, age = zip(*pairs, strict=True)
    return ibis.memtable(
        pa.table(
            {
                HAPPENED: pa.array(happened, pa.date32()),
                "dt": pa.array(days, pa.date32()),
                "age": pa.array(age, pa.int64()),
            }
        )
    )


def at_snapshots(rows: ibis.Table, snapshots: Sequence[dt.date], window: int) -> ibis.Table:
    """Return ``rows`` once for every snapshot that may see them: happened and known by then, within the window."""
    joined = rows.inner_join(ages(snapshots, window), HAPPENED)
    return joined.filter(joined["dt"] >= joined[KNOWN])


def _accumulate(events: ibis.Table, snapshots: Sequence[dt.date], specs: Sequence[FeatureSpec]) -> ibis.Table:
    daily = events.group_by(CUSTOMER, HAPPENED, KNOWN).agg(_daily_measures(events, specs))
    joined = at_snapshots(daily, snapshots, _longest(specs))
    return joined.group_by("dt", CUSTOMER).agg(**{spec.name: _value(joined, spec) for spec in specs})


def _daily_measures(events: ibis.Table, specs: Sequence[FeatureSpec]) -> dict[str, NumericValue]:
    measures: dict[str, NumericValue] = {"rows": events.count()}
    for spec in specs:
        calculation = spec.calculation
        if isinstance(calculation, Share):
            of = events[calculation.of]
            measures[f"sum:{calculation.of}"] = of.sum()
            matches = (events[calculation.column] == calculation.value).fill_null(False)
            measures[_share_name(calculation)] = of.sum(where=matches)
        elif isinstance(calculation, Aggregate) and calculation.function in _OF_COLUMN:
            column = events[calculation.column]
            measures[f"sum:{calculation.column}"] = column.sum()
            measures[f"known:{calculation.column}"] = column.count()
            measures[f"min:{calculation.column}"] = column.min()
            measures[f"max:{calculation.column}"] = column.max()
            if calculation.function == "std":
                measures[f"squares:{calculation.column}"] = (column * column).sum()
    return measures


def _share_name(share: Share) -> str:
    return f"sum:{share.of}:{share.column}={share.value}"


def _value(joined: ibis.Table, spec: FeatureSpec) -> NumericValue:
    within: BooleanValue = joined["age"] < spec.window
    calculation = spec.calculation
    if isinstance(calculation, Share):
        total = joined[f"sum:{calculation.of}"].sum(where=within).cast("float64")
        part = joined[_share_name(calculation)].sum(where=within).cast("float64")
        return part.fill_null(0.0) / total.nullif(0.0)
    assert isinstance(calculation, Aggregate)  # noqa: S101 - narrows the type; callers pass nothing else
    if calculation.column is not None:
        return _value_of_column(joined, within, calculation)
    age = joined["age"]
    if calculation.function == "count":
        return joined["rows"].sum(where=within).cast("float64")
    days = joined[HAPPENED].nunique(where=within).cast("float64")
    if calculation.function == "active_days":
        return days
    if calculation.function == "days_since_last":
        return age.min(where=within).cast("float64")
    if calculation.function == "days_since_first":
        return age.max(where=within).cast("float64")
    span = (age.max(where=within) - age.min(where=within)).cast("float64")
    return span / (days - 1).nullif(0.0)


def _value_of_column(joined: ibis.Table, within: BooleanValue, calculation: Aggregate) -> NumericValue:
    column = calculation.column
    if calculation.function in ("min", "max"):
        extreme = joined[f"{calculation.function}:{column}"]
        value = extreme.min(where=within) if calculation.function == "min" else extreme.max(where=within)
        return value.cast("float64")
    total = joined[f"sum:{column}"].sum(where=within).cast("float64")
    if calculation.function == "sum":
        return total
    known = joined[f"known:{column}"].sum(where=within).cast("float64")
    if calculation.function == "mean":
        return total / known.nullif(0.0)
    # Sample standard deviation from sums: sqrt((sum(x^2) - sum(x)^2 / n) / (n - 1)); rounding may dip below zero.
    squares = joined[f"squares:{column}"].sum(where=within).cast("float64")
    spread = squares - total * total / known.nullif(0.0)
    return (ibis.greatest(spread, 0.0) / (known - 1).nullif(0.0)).sqrt()


def _count_distinct(
    events: ibis.Table, snapshots: Sequence[dt.date], column: str, specs: Sequence[FeatureSpec]
) -> ibis.Table:
    values = events.filter(events[column].notnull()).select(CUSTOMER, HAPPENED, KNOWN, value=events[column]).distinct()
    known_from = ibis.greatest(values[HAPPENED], values[KNOWN])
    superseded = known_from.min().over(rows=(1, None), group_by=[CUSTOMER, "value"], order_by=[HAPPENED, KNOWN])
    joined = at_snapshots(values.mutate(superseded=superseded), snapshots, _longest(specs))
    youngest = joined.filter(joined["superseded"].isnull() | (joined["dt"] < joined["superseded"]))
    counts = {spec.name: (youngest["age"] < spec.window).sum().cast("float64") for spec in specs}
    return youngest.group_by("dt", CUSTOMER).agg(**counts)
