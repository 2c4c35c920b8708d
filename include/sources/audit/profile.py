"""Figures about a sample: how complete and unique each column is, whether its values read, and how fresh it is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import ibis
from ibis.backends.duckdb import Backend

from include.projects import Source
from include.sources.audit.model import ColumnAudit
from include.sources.audit.probe import Probe, found_columns
from include.sources.values import trimmed, typed_value


def profile_columns(engine: Backend, source: Source, probe: Probe) -> list[ColumnAudit]:
    """Return every column that was found, in its order, then the declared ones that were not."""
    figures = _figures(engine, found_columns(source, probe.columns), probe)
    rows = probe.sample.num_rows
    names = [*probe.columns, *(name for name in source.columns if name not in probe.columns)]
    return [_column(name, source, probe.columns, figures, rows) for name in names]


def duplicate_keys(engine: Backend, source: Source, probe: Probe) -> int | None:
    """Return how many sampled rows have a key that an earlier row of their delivery has."""
    if not set(source.key) <= set(probe.sample.column_names):
        return None
    keys = ibis.memtable(probe.sample.select(["dt", *source.key]))
    different = int(engine.execute(keys.distinct().count()))
    return int(probe.sample.num_rows) - different


def newest_event(engine: Backend, source: Source, probe: Probe, last: dt.date) -> dt.datetime | None:
    """Return the newest event or change in the sample, or the newest snapshot, up to the close of ``last``."""
    if source.event_time is None:
        return dt.datetime.combine(probe.delivered[-1], dt.time())
    if probe.newest is not None:
        return probe.newest
    if source.event_time not in probe.sample.column_names or not probe.sample.num_rows:
        return None
    rows = ibis.memtable(probe.sample.select([source.event_time]))
    kind = source.columns[source.event_time].type
    moment = typed_value(trimmed(rows[source.event_time]), kind).cast("timestamp")
    newest = engine.to_pyarrow(moment.max(where=moment < close_of(last))).as_py()
    return newest if isinstance(newest, dt.datetime) else None


def close_of(day: dt.date) -> dt.datetime:
    """Return the instant at which ``day`` closes."""
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time())


def _figures(engine: Backend, source: Source, probe: Probe) -> dict[str, Any]:
    if not probe.sample.num_rows or not source.columns:
        return {}
    rows = ibis.memtable(probe.sample.select(list(source.columns)))
    measures = {}
    for position, (name, column) in enumerate(source.columns.items()):
        text = trimmed(rows[name])
        measures[f"values_{position}"] = text.count()
        measures[f"different_{position}"] = text.nunique()
        measures[f"readable_{position}"] = typed_value(text, column.type).count()
    (found,) = engine.to_pyarrow(rows.aggregate(**measures)).to_pylist()
    return {
        name: (found[f"values_{position}"], found[f"different_{position}"], found[f"readable_{position}"])
        for position, name in enumerate(source.columns)
    }


def _column(
    name: str, source: Source, found: Mapping[str, str], figures: Mapping[str, tuple[int, int, int]], rows: int
) -> ColumnAudit:
    declared = source.columns.get(name)
    kind, required = (declared.type, declared.required) if declared else (None, False)
    if name not in figures:
        return ColumnAudit(name, found.get(name, ""), kind, required)
    values, different, readable = figures[name]
    return ColumnAudit(
        name,
        found[name],
        kind,
        required,
        values,
        completeness=round(values / rows, 6),
        uniqueness=round(different / values, 6) if values else None,
        readable=round(readable / values, 6) if values else None,
    )
