"""Aggregations over windows: by band once, then over bands for each window.

Counts, sums, extremes, squares, active days and few different values are put together over bands exactly. Two things
are not: many different values are first reduced to each at its youngest age, gaps to each active day once, and then
they go the same way.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import ibis
import pyarrow as pa
from ibis.backends.duckdb import Backend

from include.features.bands import AGE, BAND, at_snapshots, last_band
from include.features.events import CUSTOMER, HAPPENED, KNOWN, WHO
from include.features.row_expressions import with_conditions
from include.features.terms import GAP, Term
from include.projects import FeatureSpec
from include.projects.expressions import columns_in
from include.projects.features import Aggregate, Share

_BITS = 62
"""Different values that a signed number of 64 bits holds one bit each of, with one to spare."""
_SAMPLE = 10_000
"""Rows that tell whether a column has too many different values, without looking at all of them."""


def aggregate(
    engine: Backend, rows: ibis.Table, snapshots: Sequence[dt.date], specs: Sequence[FeatureSpec]
) -> list[ibis.Table]:
    """Return tables of ``dt, customer_id`` and some of the features each, for customers with an event in the window.

    Args:
        engine: The engine.
        rows: Rows of one source with ``_customer``, ``_happened`` and ``_known`` beside the columns that are used.
        snapshots: The snapshot days.
        specs: Aggregations and shares over that source.
    """
    rows, terms = _terms(engine, rows, specs)
    passes: dict[tuple[str, str, str], list[Term]] = {}
    for term in terms:
        passes.setdefault(term.pass_over, []).append(term)
    parts = []
    for (kind, column, where), group in passes.items():
        windows = sorted({term.window for term in group})
        counted = rows.filter(rows[where]) if where else rows
        if kind == "days":
            parts.append(_over_bands(_days(counted, snapshots, windows), group, windows))
        elif kind == "values":
            parts.append(_count_distinct(counted, column, snapshots, group, windows))
        else:
            parts.append(_over_bands(at_snapshots(counted, snapshots, windows), group, windows))
    return parts


def used_columns(specs: Sequence[FeatureSpec]) -> set[str]:
    """Return the columns of their source that aggregations and shares name."""
    used: set[str] = set()
    for spec in specs:
        calculation = spec.calculation
        if isinstance(calculation, Share):
            used |= {calculation.column, *filter(None, [calculation.of])}
        elif isinstance(calculation, Aggregate):
            used |= set(filter(None, [calculation.column]))
            used |= columns_in(calculation.where) if calculation.where else set()
    return used


def _terms(engine: Backend, rows: ibis.Table, specs: Sequence[FeatureSpec]) -> tuple[ibis.Table, list[Term]]:
    distinct = {str(spec.calculation.column) for spec in specs if spec.calculation.function == "count_distinct"}
    rows, bits = _with_bits(engine, rows, sorted(distinct))
    conditions: dict[str, str] = {}  # SQL -> column
    shares: dict[tuple[str, str], str] = {}  # column and value -> column
    terms = []
    for spec in specs:
        calculation, where = spec.calculation, None
        if isinstance(calculation, Share):
            where = shares.setdefault((calculation.column, calculation.value), f"_share_{len(shares)}")
        elif isinstance(calculation, Aggregate) and calculation.where:
            where = conditions.setdefault(calculation.where, f"_where_{len(conditions)}")
        counted = bits.get(str(calculation.column)) if calculation.function == "count_distinct" else None
        terms.append(Term(spec.name, spec.window or 0, calculation, where, counted))  # type: ignore[arg-type]
    rows = with_conditions(rows, engine, {name: sql for sql, name in conditions.items()})
    falls_on = {
        name: (rows[column].cast("string") == value).fill_null(False) for (column, value), name in shares.items()
    }
    return (rows.mutate(**falls_on) if falls_on else rows), terms


def _with_bits(engine: Backend, rows: ibis.Table, columns: Sequence[str]) -> tuple[ibis.Table, dict[str, str]]:
    # Few different values, such as departments, are one bit each of a number: counting them needs no pass of its own.
    bits: dict[str, str] = {}
    for column in columns:
        values = rows.select(value=rows[column]).filter(rows[column].notnull())
        if engine.to_pyarrow(values.limit(_SAMPLE).distinct().count()).as_py() > _BITS:
            continue
        found = engine.to_pyarrow(values.distinct().order_by("value").limit(_BITS + 1))
        if found.num_rows <= _BITS:
            bits[column] = f"_bits_{len(bits)}"
            numbers = pa.array([1 << number for number in range(found.num_rows)], pa.int64())
            codes = ibis.memtable(pa.table({"_value": found["value"], bits[column]: numbers}))
            rows = rows.left_join(codes, [(column, "_value")]).drop("_value")
    return rows, bits


def _over_bands(rows: ibis.Table, terms: Sequence[Term], windows: Sequence[int]) -> ibis.Table:
    measures = {measure.name: measure for term in terms for measure in term.measures()}
    bands = rows.group_by("dt", WHO, BAND).agg(**{name: measure.of(rows) for name, measure in measures.items()})

    def value(term: Term) -> ibis.Value:
        last = last_band(term.window, windows)
        return term.value(lambda measure: measure.merged(bands, last))

    return bands.group_by("dt", **{CUSTOMER: bands[WHO]}).agg(**{term.name: value(term) for term in terms})


def _days(rows: ibis.Table, snapshots: Sequence[dt.date], windows: Sequence[int]) -> ibis.Table:
    # Each day once, from when its first event was known; with the gap to the next active day that the snapshot sees.
    days = rows.group_by(WHO, HAPPENED).agg(**{KNOWN: rows[KNOWN].min()})
    seen = at_snapshots(days, snapshots, windows)
    younger = seen[AGE].lag().over(group_by=["dt", WHO], order_by=seen[AGE])
    return seen.mutate(**{GAP: seen[AGE] - younger})


def _count_distinct(
    rows: ibis.Table, column: str, snapshots: Sequence[dt.date], terms: Sequence[Term], windows: Sequence[int]
) -> ibis.Table:
    known = rows.filter(rows[column].notnull()).select(WHO, HAPPENED, KNOWN, _value=rows[column])
    seen = at_snapshots(known, snapshots, windows)
    values = seen.group_by("dt", WHO, "_value").agg(**{BAND: seen[BAND].min()})
    counts = {term.name: (values[BAND] <= last_band(term.window, windows)).sum().cast("float64") for term in terms}
    return values.group_by("dt", **{CUSTOMER: values[WHO]}).agg(**counts)
