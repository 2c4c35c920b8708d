"""The data profile of a source: completeness, uniqueness, freshness, volume and delivery frequency."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import median
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import ibis
import pyarrow as pa

from include.days import DayRange
from include.lake import Engine, Lake
from include.lake.day_parts import count_by_day
from include.lake.table_names import DELIVERIES_TABLE
from include.projects import Source
from include.sources.audit.probe import DayVolume, Probe, found_columns
from include.sources.audit.results import ColumnAudit, DeliveryFrequency, Schema, Volume
from include.sources.column_types import FoundType, trimmed, typed_value

GROWTH_DAYS = 28
"""Number of days up to the last day over which growth is averaged."""

_KNOWN_DAYS = 366
_ZONED = r":[0-9]{2}.*([A-Za-z\]]|[+-][0-9:]+)$"
"""Text with a time of day and an offset or the name of a time zone."""


class _Counts(NamedTuple):
    texts: int
    values: int
    readable: int
    without_zone: int


def profile_columns(engine: Engine, source: Source, probe: Probe) -> tuple[list[ColumnAudit], dict[dt.date, Schema]]:
    """Profile the columns of the sample, and the columns of each delivery.

    Args:
        engine: The engine.
        source: The configuration of the source.
        probe: The probe of the source.

    Returns:
        The found columns in their order, then the declared columns that were not found; and the schema of each
        delivery by day.
    """
    counts = _counts(engine, found_columns(source, probe.columns), probe.sample)
    columns = _columns(source, probe.columns, _figures(engine, source, probe.sample, counts))
    rows = count_by_day(probe.sample)
    schemas = {}
    for day, found in probe.schemas.items():
        shares = {name: _readable(item) for name, item in counts.get(day, {}).items()}
        schemas[day] = Schema(probe.format, _columns(source, found, shares), rows.get(day, 0))
    return columns, schemas


def duplicate_keys(engine: Engine, source: Source, probe: Probe) -> int | None:
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


def newest_event(engine: Engine, source: Source, probe: Probe, last: dt.date, timezone: str) -> dt.datetime | None:
    """Return the newest event or change in the sample, in UTC, or the newest snapshot, up to the end of a day.

    Args:
        engine: The engine.
        source: The configuration of the source.
        probe: The probe of the source.
        last: The day.
        timezone: The time zone of business days.
    """
    if source.event_time is None:
        return dt.datetime.combine(probe.delivered[-1], dt.time())
    if probe.newest is not None:
        return probe.newest
    if source.event_time not in probe.sample.column_names or not probe.sample.num_rows:
        return None
    rows = ibis.memtable(probe.sample.select([source.event_time]))
    kind = source.columns[source.event_time].type
    value = typed_value(trimmed(rows[source.event_time], source), kind, source)
    if kind == "date":
        newest = engine.to_pyarrow(value.max(where=value <= last)).as_py()
        return newest and begin_of_day(newest, timezone)
    newest = engine.to_pyarrow(value.max(where=value < begin_of_day(last + dt.timedelta(days=1), timezone))).as_py()
    return newest if isinstance(newest, dt.datetime) else None


def begin_of_day(day: dt.date, timezone: str) -> dt.datetime:
    """Return the instant at which ``day`` begins in a time zone, in UTC and without a time zone."""
    return dt.datetime.combine(day, dt.time(), ZoneInfo(timezone)).astimezone(dt.UTC).replace(tzinfo=None)


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


def _counts(engine: Engine, source: Source, sample: pa.Table) -> dict[dt.date, dict[str, _Counts]]:
    if not sample.num_rows or not source.columns:
        return {}
    rows = ibis.memtable(sample.select(["dt", *source.columns]))
    measures = {}
    for position, (name, column) in enumerate(source.columns.items()):
        text = trimmed(rows[name], source)
        value = typed_value(text, column.type, source)
        measures[f"texts_{position}"] = rows[name].count()
        measures[f"values_{position}"] = text.count()
        measures[f"readable_{position}"] = value.count()
        if column.type == "timestamp":
            measures[f"local_{position}"] = value.count(where=~text.re_search(_ZONED))
    found = engine.to_pyarrow(rows.group_by("dt").aggregate(**measures)).to_pylist()
    return {
        item["dt"]: {
            name: _Counts(*(item.get(f"{what}_{position}", 0) for what in ("texts", "values", "readable", "local")))
            for position, name in enumerate(source.columns)
        }
        for item in found
    }


def _figures(
    engine: Engine, source: Source, sample: pa.Table, counts: Mapping[dt.date, Mapping[str, _Counts]]
) -> dict[str, dict[str, Any]]:
    if not counts:
        return {}
    names = list(next(iter(counts.values())))
    total = {name: _Counts(*map(sum, zip(*(item[name] for item in counts.values()), strict=True))) for name in names}
    rows = ibis.memtable(sample.select(names))
    distinct = {str(position): trimmed(rows[name], source).nunique() for position, name in enumerate(names)}
    (found,) = engine.to_pyarrow(rows.aggregate(**distinct)).to_pylist()
    tokens = _null_tokens(engine, source, rows, [name for name in names if total[name].values < total[name].texts])
    return {
        name: {
            **_readable(total[name]),
            "completeness": round(total[name].values / sample.num_rows, 6),
            "uniqueness": round(found[str(position)] / total[name].values, 6) if total[name].values else None,
            "null_tokens": tokens.get(name, {}),
            "without_zone": total[name].without_zone if source.columns[name].type == "timestamp" else None,
        }
        for position, name in enumerate(names)
    }


def _null_tokens(engine: Engine, source: Source, rows: ibis.Table, columns: Sequence[str]) -> dict[str, dict[str, int]]:
    if not columns or not source.null_tokens:
        return {}
    plain = source.model_copy(update={"null_tokens": ()})
    texts = ibis.union(*(rows.select(column=ibis.literal(name), text=trimmed(rows[name], plain)) for name in columns))
    texts = texts.filter(texts["text"].isin(source.null_tokens))
    counts = texts.group_by("column", "text").agg(number=texts.count()).order_by("column", "text")
    tokens: dict[str, dict[str, int]] = {}
    for item in engine.to_pyarrow(counts).to_pylist():
        tokens.setdefault(item["column"], {})[item["text"]] = item["number"]
    return tokens


def _readable(counts: _Counts) -> dict[str, Any]:
    share = round(counts.readable / counts.values, 6) if counts.values else None
    return {"values": counts.values, "readable": share}


def _columns(
    source: Source, found: Mapping[str, FoundType], figures: Mapping[str, Mapping[str, Any]]
) -> list[ColumnAudit]:
    declared = {source.delivered_name(name): name for name in source.columns}
    columns = []
    for delivered in [*found, *(name for name in declared if name not in found)]:
        kind, name = found.get(delivered), declared.get(delivered)
        column = ColumnAudit(delivered, kind.name if kind else "", family=kind.family if kind else "")
        if name is not None:
            wanted = source.columns[name]
            column = replace(column, declared=wanted.type, required=wanted.required, **figures.get(name, {}))
        columns.append(column)
    return columns


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
