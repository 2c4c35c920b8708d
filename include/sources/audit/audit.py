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
from include.sources.audit.customers import known_customers, population_ids
from include.sources.audit.probe import DayVolume, Probe, probe
from include.sources.audit.profile import (
    begin_of_day,
    delivery_frequency,
    duplicate_keys,
    known_deliveries,
    newest_event,
    profile_columns,
    volume,
)
from include.sources.audit.results import (
    AUDIT_FILE,
    Audit,
    Change,
    ColumnAudit,
    Sample,
    Schema,
    SourceAudit,
    load_audit,
    load_previous_audit,
    to_json,
)
from include.sources.audit.schema_drift import compare_deliveries, confirm_type_changes, is_missing, with_known_columns
from include.sources.connections import Connections
from include.sources.delivered_files import missing_column
from include.sources.errors import SchemaChangeError

log = get_logger(__name__)

KNOWN_SHARE = 0.5
"""A warning is logged if the share of a source's customers that the population's source contains is smaller."""

NULL_TOKEN_SHARE = 0.1
"""A warning is logged if the share of the rows in which a column has a null token is larger."""

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
        The path of the report, and per source: deliveries, rows, bytes, undeclared columns, changes, and the share of
        its customers that the population's source contains.

    Raises:
        ProjectMismatchError: A stored audit is of another project.
        SchemaChangeError: A declared column is missing or has changed its type since the delivery before it, or since
            the previous audit.
        ChurnflowError: A source cannot be reached, or a delivery is missing, unreadable or lacks a declared column.
    """
    start = time.perf_counter()
    before, same = (load(reports, project.name, days.last) for load in (load_previous_audit, load_audit))
    known = known_deliveries(lake, days.first)
    probes = {name: probe(name, item, connections, days, project.timezone) for name, item in project.sources.items()}
    sources = {}
    for name, found in probes.items():
        item = _audit_source(name, project, found, days, known.get(name, []), before)
        repeated = same.sources.get(name) if same else None
        changes = confirm_type_changes(item.changes, None if accept else repeated.changes if repeated else [])
        sources[name] = replace(item, changes=changes)
    sources = _with_customers(project, lake, probes, days, sources)
    accepted = not any(item.refused or _missing(item) for item in sources.values())
    compared_with = before.last if before else None
    audit = Audit(project.name, days.first, days.last, compared_with, accepted, sources)
    report = _write_report(audit, reports / str(audit.last))
    _log(audit, round(time.perf_counter() - start, 3))
    _require_schema(project, audit, report)
    return {"report": str(report), "sources": {name: _summary(item) for name, item in sources.items()}}


def _audit_source(
    name: str, project: Project, found: Probe, days: DayRange, earlier: list[DayVolume], before: Audit | None
) -> SourceAudit:
    source, engine = project.sources[name], connect()
    columns, deliveries = profile_columns(engine, source, found)
    previous = before.sources.get(name) if before else None
    changes, known = compare_deliveries(
        deliveries, previous.schema if previous else None, before.last if before else None
    )
    schema = Schema(found.format, columns, found.sample.num_rows)
    newest = newest_event(engine, source, found, days.last, project.timezone)
    # If the audited days have no event, the newest event of the previous audit is still the newest.
    newest = previous.newest if newest is None and previous else newest
    return SourceAudit(
        name=name,
        description=source.description,
        kind=source.kind,
        owner=source.owner,
        connector=found.connector,
        format=found.format,
        location=found.location,
        authentication=found.authentication,
        columns=(with_known_columns(schema, known) if known else schema).columns,
        layouts=found.layouts,
        key=source.key,
        duplicate_keys=duplicate_keys(engine, source, found),
        newest=newest,
        age_days=None if newest is None else _age(source, newest, days, project.timezone),
        sample=_sample(found),
        volume=volume(source, found, earlier, days.last),
        rhythm=delivery_frequency(source, found, earlier),
        speed=found.speed,
        contract=f"include/projects/{project.name}/sources.yaml",
        checks=_count_checks(project.checks.get(name, Checks())),
        changes=changes,
        rows_outside_time=found.rows_outside_time,
    )


def _with_customers(
    project: Project, lake: Lake, probes: dict[str, Probe], days: DayRange, audits: dict[str, SourceAudit]
) -> dict[str, SourceAudit]:
    others = [name for name, source in project.sources.items() if source.customer and name != project.population.source]
    engine = connect()
    probe_of_population = probes.get(project.population.source)
    if not others or probe_of_population is None:
        return audits
    ids = population_ids(project, lake, engine, probe_of_population, days)
    if ids is None:
        return audits
    found = {name: known_customers(engine, project.sources[name], probes[name], ids) for name in others}
    return {name: replace(audit, customers=found.get(name)) for name, audit in audits.items()}


def _age(source: Source, newest: dt.datetime, days: DayRange, timezone: str) -> float:
    if source.event_time is None:
        return float((days.last - newest.date()).days)
    end = begin_of_day(days.last + dt.timedelta(days=1), timezone)
    return round((end - newest).total_seconds() / _DAY_SECONDS, 3)


def _sample(found: Probe) -> Sample:
    first, last = (found.sampled[0], found.sampled[-1]) if found.sampled else (None, None)
    return Sample(first, last, found.sample.num_rows, found.is_everything)


def _count_checks(checks: Checks) -> int:
    single = [checks.row_count, checks.freshness]
    return len(checks.expectations) + len(checks.foreign_keys) + sum(check is not None for check in single)


def _missing(item: SourceAudit) -> list[str]:
    # A JSON-lines file without rows has no keys.
    if item.format == "jsonl" and not item.sample.rows:
        return []
    return [column.name for column in item.columns if is_missing(column, item.format)]


def _require_schema(project: Project, audit: Audit, report: Path) -> None:
    for item in audit.sources.values():
        for change in item.refused:
            before = "audit" if change.compared_with == audit.compared_with else "delivery"
            raise SchemaChangeError(
                f"Column {change.column!r} of source {item.name!r} {change.what}"
                f" ({change.day}, compared with the {before} of {change.compared_with}).",
                where=f"{item.location.replace('{day}', str(change.day))}; report {report}",
                remedy=_remedy(item, change, audit),
            )
        for name in _missing(item):
            where = item.location.replace("{day}", str(item.rhythm.latest))
            found = [column.name for column in item.columns if column.found]
            raise missing_column(name, where, project.sources[item.name], found)


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
    page = template.render(audit=audit, sources=list(audit.sources.values()), known_share=KNOWN_SHARE)
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
            log.warning("schema changed", extra={"source": name, "changes": _changes(item)})
        if item.rows_outside_time:
            log.warning("rows without a time are never loaded", extra={"source": name, "rows": item.rows_outside_time})
        if item.customers and item.customers.share < KNOWN_SHARE:
            figures = {"source": name, "ids": item.customers.ids, "known": item.customers.known}
            log.warning("customers missing from the population", extra=figures)
        for column in item.columns:
            _log_values(name, item, column)
    figures = {"days": f"{audit.first}..{audit.last}", "accepted": audit.accepted, "seconds": seconds}
    log.info("sources audited", extra=figures | {"sources": len(audit.sources)})


def _log_values(source: str, item: SourceAudit, column: ColumnAudit) -> None:
    where = {"source": source, "column": column.name}
    if sum(column.null_tokens.values()) > NULL_TOKEN_SHARE * item.sample.rows:
        log.warning("many null tokens", extra=where | {"tokens": column.null_tokens})
    if column.without_zone and column.without_zone < round(column.values * (column.readable or 0)):
        log.warning("timestamps with and without a time zone", extra=where | {"without": column.without_zone})


def _changes(item: SourceAudit) -> list[str]:
    return [f"{change.column} {change.what}" for change in item.changes]


def _summary(item: SourceAudit) -> dict[str, Any]:
    return {
        "deliveries": item.volume.deliveries,
        "rows": item.volume.rows,
        "bytes": item.volume.bytes,
        "undeclared_columns": item.undeclared,
        "changes": _changes(item),
        "known_customers": None if item.customers is None else round(item.customers.share, 4),
    }
