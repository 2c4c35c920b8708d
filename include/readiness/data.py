"""The checks of gate 1: sources, validation, versions, features and requirements."""

from __future__ import annotations

import datetime as dt

from include.features.definitions import differing_definitions
from include.lake.table_names import FEATURES_TABLE, SILVER_DAYS_TABLE, quarantine_table, silver_table
from include.plurals import counted
from include.readiness.approvals import find_approval
from include.readiness.system import Evidence, System, modified
from include.reporting.rendering import percent
from include.sources.audit.results import AUDIT_FILE, SourceAudit, load_previous_audit
from include.versions.repository import open_repository

_VALIDATED_DAYS = 28
_REQUIRED_PASS_SHARE = 0.99


def sources_documented(system: System) -> Evidence:
    """Check that the newest audit states the schema, owner, update frequency and access of every source."""
    folder = system.settings.reports_dir / "audit"
    audit = load_previous_audit(folder, system.project.name, dt.date.max)
    if audit is None:
        return Evidence(False, "No source has been audited. An ingest audits all sources.")
    gaps = {name: _undocumented(audit.sources.get(name)) for name in system.project.sources}
    found = [f"{name} ({', '.join(missing)})" for name, missing in gaps.items() if missing]
    documented = len(gaps) - len(found)
    text = f"The audit of {audit.last} states schema, owner, update frequency and access of each source"
    return Evidence(
        passed=not found,
        text=f"{text}, except {'; '.join(found)}." if found else f"{text}.",
        figure=f"{documented} of {counted(len(gaps), 'source')}",
        time=modified(folder / str(audit.last) / AUDIT_FILE),
        link=system.report(f"audit/{audit.last}/audit.html"),
    )


def _undocumented(audit: SourceAudit | None) -> list[str]:
    """Return what the audit of a source does not state."""
    if audit is None:
        return ["not audited"]
    stated = {
        "schema": any(column.declared for column in audit.columns),
        "owner": audit.owner,
        "update frequency": audit.rhythm.deliveries,
        "access": audit.location and audit.authentication,
    }
    return [name for name, value in stated.items() if not value]


def data_validation(system: System) -> Evidence:
    """Check that more than 99 % of the rows of the newest ingested days passed their checks."""
    table = system.lake.table(SILVER_DAYS_TABLE)
    days = table.days()[-_VALIDATED_DAYS:]
    if not days:
        return Evidence(False, "No day has been ingested.")
    shares, passed, rows = {}, 0, 0
    for name in system.project.sources:
        accepted = sum(system.lake.table(silver_table(name)).row_counts(days).values())
        refused = sum(system.lake.table(quarantine_table(name)).row_counts(days).values())
        if accepted + refused:
            shares[name] = accepted / (accepted + refused)
        passed, rows = passed + accepted, rows + accepted + refused
    if not rows:
        return Evidence(False, f"There are no rows on the {counted(len(days), 'day')} up to {days[-1]}.")
    lowest = min(shares, key=lambda name: shares[name])
    return Evidence(
        passed=passed / rows > _REQUIRED_PASS_SHARE,
        text=f"{passed:,} of {counted(rows, 'row')} of the {counted(len(days), 'ingested day')} up to {days[-1]} "
        f"passed their checks; more than {percent(_REQUIRED_PASS_SHARE)} must pass. Lowest source: {lowest}, "
        f"{percent(shares[lowest])}.",
        figure=percent(passed / rows),
        time=table.written_at(),
        link=system.report(f"quality/{days[-1]}/silver.html"),
    )


def data_versioned(system: System) -> Evidence:
    """Check that the remote contains the data version of the last training."""
    model = system.model("challenger")
    revision = model.record.tags.get("dvc.revision")
    if not revision:
        return Evidence(False, f"The training of version {model.version} recorded no data version.", link=model.link)
    repository = open_repository(system.settings)
    missing = repository.missing_files(revision)
    return Evidence(
        passed=not missing,
        text=f"Version {model.version} was trained on data version {revision}. The remote {repository.remote} "
        + (f"lacks {counted(missing, 'file')} of it." if missing else "contains all its files."),
        figure=revision[:12],
        time=system.now,
        link=model.link,
    )


def feature_store(system: System) -> Evidence:
    """Check that the newest day in gold has rows, built with the project's present definitions."""
    table = system.lake.table(FEATURES_TABLE)
    newest = max(table.days(), default=None)
    if newest is None:
        return Evidence(False, "Gold contains no day.")
    differing, _ = differing_definitions(system.project, system.lake, [newest])
    names = differing.get(newest, [])
    text = f"The newest day in gold is {newest}, with {counted(len(system.project.features), 'feature')}"
    return Evidence(
        passed=not names,
        text=f"{text}. It was built with other definitions of {', '.join(names)}. Ingest the day again."
        if names
        else f"{text} of the present definitions.",
        figure=counted(sum(table.row_counts([newest]).values()), "row"),
        time=table.written_at(),
        link=system.report(f"quality/{newest}/gold.html"),
    )


def features_approved(system: System) -> Evidence:
    """Check that a person approved the present features."""
    return find_approval(system, "features")


def model_requirements(system: System) -> Evidence:
    """Check that the project requires a minimum of each baseline metric."""
    metrics = system.project.requirements.metrics
    limits = ", ".join(f"{name} {limit:g}" for name, limit in metrics.limits().items())
    if metrics.mode == "disabled":
        return Evidence(False, "The requirements on metrics are disabled in requirements.yaml.")
    text = f"requirements.yaml requires at least {limits} (mode {metrics.mode})."
    return Evidence(True, text, counted(len(metrics.limits()), "baseline"), system.now)


def requirements_approved(system: System) -> Evidence:
    """Check that a person approved the present requirements."""
    return find_approval(system, "requirements")
