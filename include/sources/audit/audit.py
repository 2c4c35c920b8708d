"""Audit the sources of a project: probe, profile, compare with the previous audit, report, reject breaking changes."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from include.days import DayRange
from include.lake import Lake, connect
from include.local_files import disk_full_errors, write_atomically
from include.logs import get_logger
from include.projects import Checks, Project, Source
from include.reporting import html_templates
from include.sources.audit.probe import DayVolume, Probe, probe
from include.sources.audit.profile import (
    delivery_frequency,
    duplicate_keys,
    end_of_day,
    known_deliveries,
    newest_event,
    profile_columns,
    volume,
)
from include.sources.audit.results import (
    AUDIT_FILE,
    Audit,
    Change,
    Sample,
    SourceAudit,
    load_audit,
    load_previous_audit,
    to_json,
)
from include.sources.audit.schema_drift import compare_schemas, confirm_type_changes, is_missing, with_known_columns
from include.sources.connections import Connections
from include.sources.errors import ColumnError, SchemaChangeError

log = get_logger(__name__)

_DAY_SECONDS = 86400
_TEMPLATES = Path(__file__).parents[1] / "templates"


def audit_sources(
    project: Project, lake: Lake, connections: Connections, days: DayRange, reports: Path, *, accept: bool = False
) -> dict[str, Any]:
    """Audit every source for ``days``, write the report, and reject a breaking schema change.

    Only the report is written. Figures about columns are computed from a sample of the newest deliveries.

    Args:
        project: The project.
        lake: The lake; bronze gives the earlier deliveries.
        connections: The addresses of the sources.
        days: The days to audit.
        reports: The folder of audits; the report is written to ``<reports>/<last day>/``.
        accept: Accept changed types as the new schema from these days on.

    Returns:
        The path of the report, and per source: deliveries, rows, bytes, undeclared columns and changes.

    Raises:
        SchemaChangeError: A declared column is missing or has changed its type since the previous audit.
        ChurnflowError: A source cannot be reached, or a delivery is missing, unreadable or lacks a declared column.
    """
    start = time.perf_counter()
    before, same = (load(reports, project.name, days.last) for load in (load_previous_audit, load_audit))
    known = known_deliveries(lake, days.first)
    sources = {}
    for name in project.sources:
        found = _audit_source(name, project, connections, days, known.get(name, []))
        earlier = before.sources.get(name) if before else None
        if earlier:
            found = _with_history(found, earlier, days)
            confirmed = accept or _was_confirmed(found, same.sources.get(name) if same else None)
            found = replace(found, changes=confirm_type_changes(found.changes) if confirmed else found.changes)
        sources[name] = found
    accepted = not any(item.refused or _missing(item) for item in sources.values())
    compared_with = before.last if before else None
    audit = Audit(project.name, days.first, days.last, compared_with, accepted, sources)
    report = _write_report(audit, reports / str(audit.last))
    _log(audit, round(time.perf_counter() - start, 3))
    _require_schema(audit, report)
    return {"report": str(report), "sources": {name: _summary(item) for name, item in sources.items()}}


def _audit_source(
    name: str, project: Project, connections: Connections, days: DayRange, earlier: list[DayVolume]
) -> SourceAudit:
    source = project.sources[name]
    found = probe(name, source, connections, days)
    engine = connect()
    newest = newest_event(engine, source, found, days.last)
    return SourceAudit(
        name=name,
        description=source.description,
        kind=source.kind,
        owner=source.owner,
        connector=found.connector,
        format=found.format,
        location=found.location,
        authentication=found.authentication,
        columns=profile_columns(engine, source, found),
        layouts=found.layouts,
        key=source.key,
        duplicate_keys=duplicate_keys(engine, source, found),
        newest=newest,
        age_days=None if newest is None else _age(source, newest, days),
        sample=_sample(found),
        volume=volume(source, found, earlier, days.last),
        rhythm=delivery_frequency(source, found, earlier),
        speed=found.speed,
        contract=f"include/projects/{project.name}/sources.yaml",
        checks=_count_checks(project.checks.get(name, Checks())),
    )


def _with_history(now: SourceAudit, before: SourceAudit, days: DayRange) -> SourceAudit:
    now = with_known_columns(now, before)
    changes = compare_schemas(now, before)
    if now.newest is not None or before.newest is None:
        return replace(now, changes=changes)
    # The audited days have no event, so the newest event of the previous audit is still the newest.
    age = round((end_of_day(days.last) - before.newest).total_seconds() / _DAY_SECONDS, 3)
    return replace(now, changes=changes, newest=before.newest, age_days=age)


def _age(source: Source, newest: dt.datetime, days: DayRange) -> float:
    if source.event_time is None:
        return float((days.last - newest.date()).days)
    return round((end_of_day(days.last) - newest).total_seconds() / _DAY_SECONDS, 3)


def _sample(found: Probe) -> Sample:
    first, last = (found.sampled[0], found.sampled[-1]) if found.sampled else (None, None)
    return Sample(first, last, found.sample.num_rows, found.is_everything)


def _count_checks(checks: Checks) -> int:
    single = [checks.row_count, checks.freshness]
    return len(checks.expectations) + len(checks.foreign_keys) + sum(check is not None for check in single)


def _was_confirmed(now: SourceAudit, same: SourceAudit | None) -> bool:
    # An earlier audit of the same days has confirmed changes, and the schema has not changed since.
    if same is None or not any(change.confirmed for change in same.changes):
        return False
    return [(item.name, item.found) for item in now.columns] == [(item.name, item.found) for item in same.columns]


def _missing(item: SourceAudit) -> list[str]:
    # A JSON-lines file without rows has no keys.
    if item.format == "jsonl" and not item.sample.rows:
        return []
    return [column.name for column in item.columns if is_missing(column, item.format)]


def _require_schema(audit: Audit, report: Path) -> None:
    for item in audit.sources.values():
        for change in item.refused:
            raise SchemaChangeError(
                f"Column {change.column!r} of source {item.name!r} {change.what}"
                f" (compared with the audit of {audit.compared_with}).",
                where=f"{_newest(item)}; report {report}",
                remedy=_remedy(item, change, audit),
            )
        for name in _missing(item):
            raise ColumnError(
                f"The source {item.name!r} has no column {name!r}.",
                where=_newest(item),
                remedy=f"Ask {item.owner} whether it was renamed; adapt {item.contract}, or ask for a new delivery.",
            )


def _newest(item: SourceAudit) -> str:
    return item.location.replace("{day}", str(item.rhythm.latest))


def _remedy(item: SourceAudit, change: Change, audit: Audit) -> str:
    if change.what.startswith("is missing"):
        return f"Ask {item.owner} whether it was renamed; adapt {item.contract}, or ask for a new delivery."
    command = f"python -m include.sources audit --from-day {audit.first} --to-day {audit.last} --accept"
    return (
        f"Ask {item.owner} to deliver it as before, or change the type in {item.contract},"
        f" or accept the new type: {command}"
    )


def _write_report(audit: Audit, folder: Path) -> Path:
    template = html_templates(_TEMPLATES).get_template("audit.html")
    page = template.render(audit=audit, sources=list(audit.sources.values()))
    with disk_full_errors(str(folder)):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "audit.html", page)
        write_atomically(folder / AUDIT_FILE, to_json(audit))
    return folder / "audit.html"


def _log(audit: Audit, seconds: float) -> None:
    for name, item in audit.sources.items():
        if item.undeclared:
            log.warning("undeclared columns", extra={"source": name, "columns": item.undeclared})
        if item.changes:
            changes = [f"{change.column} {change.what}" for change in item.changes]
            log.warning("schema changed", extra={"source": name, "changes": changes})
    figures = {"days": f"{audit.first}..{audit.last}", "accepted": audit.accepted, "seconds": seconds}
    log.info("sources audited", extra=figures | {"sources": len(audit.sources)})


def _summary(item: SourceAudit) -> dict[str, Any]:
    return {
        "deliveries": item.volume.deliveries,
        "rows": item.volume.rows,
        "bytes": item.volume.bytes,
        "undeclared_columns": item.undeclared,
        "changes": [f"{change.column} {change.what}" for change in item.changes],
    }
