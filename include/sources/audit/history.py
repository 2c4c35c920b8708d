"""Earlier audits, and what bronze knows of earlier deliveries."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

from pydantic import TypeAdapter, ValidationError

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import DELIVERIES_TABLE
from include.logs import get_logger
from include.projects import Source
from include.sources.audit.model import Audit, Rhythm, Volume
from include.sources.audit.probe import DayVolume, Probe

log = get_logger(__name__)

FILE = "audit.json"

GROWTH_DAYS = 28
"""The days up to the last one over which growth is averaged."""

_KNOWN_DAYS = 366
_AUDIT = TypeAdapter(Audit)


def to_json(audit: Audit) -> str:
    """Return the audit as it is stored."""
    return _AUDIT.dump_json(audit, indent=1).decode()


def audit_at(folder: Path, project: str, day: dt.date) -> Audit | None:
    """Return the audit that is stored under ``day``, when there is one of this project that can be read."""
    path = folder / str(day) / FILE
    if not path.exists():
        return None
    try:
        audit = _AUDIT.validate_json(path.read_text(encoding="utf-8"))
    except ValidationError:
        log.warning("an earlier audit cannot be read", extra={"path": str(path)})
        return None
    return audit if audit.project == project else None


def audit_before(folder: Path, project: str, day: dt.date) -> Audit | None:
    """Return the latest accepted audit under an earlier day, so that a day audited again has the same before it."""
    days = sorted((path.parent.name for path in folder.glob(f"????-??-??/{FILE}")), reverse=True)
    for earlier in (dt.date.fromisoformat(name) for name in days if name < str(day)):
        audit = audit_at(folder, project, earlier)
        if audit is not None and audit.accepted:
            return audit
    return None


def known_deliveries(lake: Lake, first: dt.date) -> dict[str, list[DayVolume]]:
    """Return the deliveries of the year before ``first`` that bronze has, by source."""
    table = lake.table(DELIVERIES_TABLE)
    if not table.exists():
        return {}
    known: dict[str, list[DayVolume]] = {}
    rows = table.read(DayRange.ending(first - dt.timedelta(days=1), _KNOWN_DAYS)).to_pylist()
    for row in sorted(rows, key=lambda row: row["dt"]):
        known.setdefault(row["source"], []).append(DayVolume(row["dt"], row.get("rows"), row["bytes"]))
    return known


def volume(source: Source, probe: Probe, earlier: Sequence[DayVolume], last: dt.date) -> Volume:
    """Return how much the days audited hold, and how much more comes each day."""
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


def rhythm(source: Source, probe: Probe, earlier: Sequence[DayVolume]) -> Rhythm:
    """Return when deliveries came; a day of a database counts when it has rows."""
    days = set(probe.delivered)
    if source.database:
        days |= {item.day for item in earlier if item.rows}
    ordered = sorted(days)
    gaps = [(later - sooner).days for sooner, later in pairwise(ordered)]
    return Rhythm(
        deliveries=len(ordered),
        latest=ordered[-1] if ordered else None,
        median_gap_days=float(median(gaps)) if gaps else None,
        longest_gap_days=max(gaps, default=None),
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
