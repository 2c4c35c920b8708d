"""The data profile of a source: completeness, uniqueness, freshness, volume and delivery frequency."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any

import ibis
from ibis.backends.duckdb import Backend

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import DELIVERIES_TABLE
from include.projects import Source
from include.sources.audit.probe import DayVolume, Probe, found_columns
from include.sources.audit.results import ColumnAudit, DeliveryFrequency, Volume
from include.sources.column_types import FoundType, trimmed, typed_value

GROWTH_DAYS = 28
"""Number of days up to the last day over which growth is averaged."""

_KNOWN_DAYS = 366


def profile_columns(engine: Backend, source: Source, probe: Probe) -> list[ColumnAudit]:
    """Profile every found column, in its order, then list the declared columns that were not found.

    Args:
        engine: The engine.
        source: The configuration of the source.
        probe: The probe of the source.
    """
    figures = _figures(engine, found_columns(source, probe.columns), probe)
    rows = probe.sample.num_rows
    names = [*probe.columns, *(name for name in source.columns if name not in probe.columns)]
    return [_column(name, source, probe.columns.get(name), figures, rows) for name in names]


def duplicate_keys(engine: Backend, source: Source, probe: Probe) -> int | None:
    """Count the sampled rows that repeat a key of the same delivery; None if a key column is missing.

    Args:
        engine: The engine.
        source: The configuration of the source.
        probe: The probe of the source.
    """
    if not set(source.key) <= set(probe.sample.column_names):
        return None
    keys = ibis.memtable(probe.sample.select(["dt", *source.key]))
    distinct = int(engine.execute(keys.distinct().count()))
    return int(probe.sample.num_rows) - distinct


def newest_event(engine: Backend, source: Source, probe: Probe, last: dt.date) -> dt.datetime | None:
    """Return the newest event or change in the sample, or the newest snapshot, up to the end of a day.

    Args:
        engine: The engine.
        source: The configuration of the source.
        probe: The probe of the source.
        last: The day.
    """
    if source.event_time is None:
        return dt.datetime.combine(probe.delivered[-1], dt.time())
    if probe.newest is not None:
        return probe.newest
    if source.event_time not in probe.sample.column_names or not probe.sample.num_rows:
        return None
    rows = ibis.memtable(probe.sample.select([source.event_time]))
    kind = source.columns[source.event_time].type
    moment = typed_value(trimmed(rows[source.event_time], source), kind, source).cast("timestamp")
    newest = engine.to_pyarrow(moment.max(where=moment < end_of_day(last))).as_py()
    return newest if isinstance(newest, dt.datetime) else None


def end_of_day(day: dt.date) -> dt.datetime:
    """Return the instant at which ``day`` ends."""
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time())


def known_deliveries(lake: Lake, first: dt.date) -> dict[str, list[DayVolume]]:
    """Return the deliveries in bronze during the year before a day, by source.

    Args:
        lake: The lake.
        first: The first audited day.
    """
    table = lake.table(DELIVERIES_TABLE)
    if not table.exists():
        return {}
    known: dict[str, list[DayVolume]] = {}
    rows = table.read(DayRange.ending(first - dt.timedelta(days=1), _KNOWN_DAYS)).to_pylist()
    for row in sorted(rows, key=lambda row: row["dt"]):
        known.setdefault(row["source"], []).append(DayVolume(row["dt"], row.get("rows"), row["bytes"]))
    return known


def volume(source: Source, probe: Probe, earlier: Sequence[DayVolume], last: dt.date) -> Volume:
    """Return the volume of the audited days and its growth per day.

    Args:
        source: The configuration of the source.
        probe: The probe of the source.
        earlier: Its earlier deliveries.
        last: The last audited day.
    """
    volumes = [_estimated(item, probe.bytes_per_row) for item in probe.volumes]
    known = [*earlier, *volumes]
    if source.is_daily:
        known = [item for item in known if (last - item.day).days < GROWTH_DAYS]
    growth = _mean if source.is_daily else _slope
    return Volume(
        deliveries=len(probe.volumes),
        rows=_sum([item.rows for item in volumes]),
        rows_are_estimated=any(item.rows is None for item in probe.volumes),
        bytes=_sum([item.bytes for item in volumes]),
        rows_per_day=growth([(item.day, item.rows) for item in known if item.rows is not None]),
        bytes_per_day=growth([(item.day, item.bytes) for item in known if item.bytes is not None]),
        growth_days=len(known),
    )


def delivery_frequency(source: Source, probe: Probe, earlier: Sequence[DayVolume]) -> DeliveryFrequency:
    """Return how often deliveries arrive; a day of a database counts as a delivery if it has rows.

    Args:
        source: The configuration of the source.
        probe: The probe of the source.
        earlier: Its earlier deliveries.
    """
    days = set(probe.delivered)
    if source.database:
        days |= {item.day for item in earlier if item.rows}
    ordered = sorted(days)
    gaps = [(later - sooner).days for sooner, later in pairwise(ordered)]
    return DeliveryFrequency(
        deliveries=len(ordered),
        latest=ordered[-1] if ordered else None,
        median_gap_days=float(median(gaps)) if gaps else None,
        longest_gap_days=max(gaps, default=None),
    )


def _figures(engine: Backend, source: Source, probe: Probe) -> dict[str, Any]:
    if not probe.sample.num_rows or not source.columns:
        return {}
    rows = ibis.memtable(probe.sample.select(list(source.columns)))
    measures = {}
    for position, (name, column) in enumerate(source.columns.items()):
        text = trimmed(rows[name], source)
        measures[f"values_{position}"] = text.count()
        measures[f"distinct_{position}"] = text.nunique()
        measures[f"readable_{position}"] = typed_value(text, column.type, source).count()
    (found,) = engine.to_pyarrow(rows.aggregate(**measures)).to_pylist()
    return {
        name: (found[f"values_{position}"], found[f"distinct_{position}"], found[f"readable_{position}"])
        for position, name in enumerate(source.columns)
    }


def _column(
    name: str, source: Source, found: FoundType | None, figures: Mapping[str, tuple[int, int, int]], rows: int
) -> ColumnAudit:
    declared = source.columns.get(name)
    column = ColumnAudit(
        name,
        found.name if found else "",
        declared.type if declared else None,
        declared.required if declared else False,
        family=found.family if found else "",
    )
    if name not in figures:
        return column
    values, distinct, readable = figures[name]
    return replace(
        column,
        values=values,
        completeness=round(values / rows, 6),
        uniqueness=round(distinct / values, 6) if values else None,
        readable=round(readable / values, 6) if values else None,
    )


def _estimated(item: DayVolume, bytes_per_row: float | None) -> DayVolume:
    if item.rows is not None or item.bytes is None or bytes_per_row is None:
        return item
    return replace(item, rows=round(item.bytes / bytes_per_row))


def _sum(numbers: Sequence[int | None]) -> int | None:
    known = [number for number in numbers if number is not None]
    return sum(known) if len(known) == len(numbers) else None


def _mean(points: Sequence[tuple[dt.date, int]]) -> float | None:
    return round(sum(number for _, number in points) / len(points), 1) if points else None


def _slope(points: Sequence[tuple[dt.date, int]]) -> float | None:
    if len(points) < 2:
        return None
    (first, before), (last, after) = points[0], points[-1]
    return round((after - before) / (last - first).days, 1)
