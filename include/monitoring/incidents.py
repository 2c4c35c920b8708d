"""Incidents: their kind, their first day, their changes, and their end.

The incidents of a day follow from its monitoring result and the incidents of earlier days. Recording a day also records
the later monitored days again, so the table depends neither on the order nor on the repetition of the days.
docs/decisions/0028-incidents-and-messages.md explains the rules.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, cast

import pyarrow as pa
from filelock import FileLock

from include.days import DayRange
from include.errors import ChurnflowError
from include.lake import Lake, Table, open_lake
from include.lake.table_names import ACKNOWLEDGEMENTS_TABLE, INCIDENTS_TABLE
from include.logs import get_logger
from include.monitoring.incident_facts import KINDS, IncidentFacts, Kind, decay_facts, drift_facts
from include.monitoring.results import RESULT_FILE, ResultError, day_dir, read_result, result_days
from include.projects import Project
from include.settings import Settings

log = get_logger(__name__)

Change = Literal["opened", "worse", "better", "unchanged", "resolved"]

REPORTED_STEP = 1.5
"""An incident is worse or better when its severity has changed by this factor since it was last reported."""

_FACTS = {"drift": drift_facts, "decay": decay_facts}
_SCHEMA = pa.schema(
    [
        ("dt", pa.date32()),
        ("incident_id", pa.string()),
        ("kind", pa.string()),
        ("opened", pa.date32()),
        ("open", pa.bool_()),
        ("change", pa.string()),
        ("severity", pa.float64()),
        ("reported", pa.float64()),
        ("peak", pa.float64()),
        ("model_version", pa.string()),
        ("title", pa.string()),
        ("lines", pa.list_(pa.string())),
        ("report", pa.string()),
    ]
)
_ACKNOWLEDGEMENTS = pa.schema(
    [
        ("dt", pa.date32()),
        ("incident_id", pa.string()),
        ("day", pa.date32()),
        ("user", pa.string()),
        ("note", pa.string()),
    ]
)


class IncidentError(ChurnflowError):
    """There is no such incident."""


@dataclass(frozen=True)
class Incident:
    """An incident on one monitored day.

    Attributes:
        incident_id: The kind and the first day, such as ``drift-2018-01-05``.
        kind: ``drift`` of the inputs or scores, or ``decay`` of the realised performance.
        opened: The first day.
        last_day: The day of this state.
        open: Whether the incident is still open.
        change: What changed on the day.
        severity: The severity on the day. Drift: the multiple of the natural variation. Decay: see ``decay_severity``.
            A day without a verdict has the severity of the day before.
        reported: The severity when the incident last opened, got worse or got better.
        peak: The largest severity up to the day.
        model_version: The version of the model that the verdict is about.
        title: The kind, the project and the first day, as a headline.
        lines: The details of the day, one per line, without customer data.
        report: The path of the day's report below the reports' folder.
        acknowledged_by: The user who acknowledged the incident last; None if there is none.
    """

    incident_id: str
    kind: Kind
    opened: dt.date
    last_day: dt.date
    open: bool
    change: Change
    severity: float
    reported: float
    peak: float
    model_version: str
    title: str
    lines: tuple[str, ...]
    report: str
    acknowledged_by: str | None = None


@dataclass(frozen=True)
class Acknowledgement:
    """The statement of a user to work on an incident.

    Attributes:
        incident_id: The incident.
        opened: The first day of the incident.
        day: The last monitored day of the incident when it was acknowledged.
        user: The name of the user.
        note: A remark; may be empty.
    """

    incident_id: str
    opened: dt.date
    day: dt.date
    user: str
    note: str


def record_incidents(project: Project, settings: Settings, day: dt.date) -> list[Incident]:
    """Record the incidents of a monitored day and of all later monitored days, and return those of the day.

    The rows of these days are replaced in one commit, or stay as they are if they are equal.

    Args:
        project: The project.
        settings: The lake and the reports' folder.
        day: A monitored day.

    Raises:
        ResultError: The day has not been monitored, or a result is damaged.
    """
    table = open_lake(settings).table(INCIDENTS_TABLE)
    with lock(settings, "incidents"):
        recorded = _read(table)
        state = {incident.kind: incident for incident in recorded if incident.last_day < day}
        found: list[Incident] = []
        later = [other for other in result_days(settings.reports_dir) if other > day]
        for judged in (day, *later):
            result = read_result(settings.reports_dir, judged)
            try:
                facts = {kind: _FACTS[kind](result) for kind in KINDS}
            except (KeyError, TypeError) as error:
                raise ResultError(
                    "The result lacks facts about incidents, for example because an earlier release wrote it.",
                    where=str(day_dir(settings.reports_dir, judged) / RESULT_FILE),
                    remedy="Run churn_monitor again for that day.",
                ) from error
            for kind in KINDS:
                incident = _next(kind, state.get(kind), facts[kind], result, judged)
                if incident is not None:
                    state[kind] = incident
                    found.append(incident)
        if found != [incident for incident in recorded if incident.last_day >= day]:
            last = max([day, *later, *table.days()])
            rows = [asdict(incident) | {"dt": incident.last_day} for incident in found]
            table.replace(DayRange(day, last), pa.Table.from_pylist(rows, _SCHEMA))
    of_day = [incident for incident in found if incident.last_day == day]
    changes = {incident.incident_id: incident.change for incident in of_day}
    log.info("incidents recorded", extra={"project": project.name, "day": str(day), "incidents": changes})
    return of_day


def read_incident_days(lake: Lake) -> list[Incident]:
    """Return each incident on each of its days, sorted by day, without acknowledgements.

    Args:
        lake: The lake with ``monitoring/incidents``.
    """
    return _read(lake.table(INCIDENTS_TABLE))


def read_incidents(lake: Lake) -> list[Incident]:
    """Return the newest state of each incident, with its acknowledgement; the newest incident first.

    Args:
        lake: The lake with ``monitoring/incidents`` and ``monitoring/acknowledgements``.
    """
    newest = {incident.incident_id: incident for incident in _read(lake.table(INCIDENTS_TABLE))}
    users = {item.incident_id: item.user for item in read_acknowledgements(lake)}
    found = [replace(incident, acknowledged_by=users.get(name)) for name, incident in newest.items()]
    return sorted(found, key=lambda incident: (incident.opened, incident.kind), reverse=True)


def acknowledge(settings: Settings, user: str, note: str = "", incident_id: str | None = None) -> Acknowledgement:
    """Record that a user works on an incident. The same statement is recorded once.

    Args:
        settings: The lake.
        user: The name of the user.
        note: A remark.
        incident_id: The incident; by default the newest open incident.

    Raises:
        IncidentError: There is no such incident, or no open incident.
    """
    lake = open_lake(settings)
    incidents = {
        item.incident_id: item for item in read_incidents(lake) if item.open or item.incident_id == incident_id
    }
    incident = incidents.get(incident_id) if incident_id else next(iter(incidents.values()), None)
    if incident is None:
        known = ", ".join(incidents) or "none"
        raise IncidentError(
            f"There is no incident {incident_id!r}." if incident_id else "No incident is open.",
            where=f"{lake.uri}/{INCIDENTS_TABLE}",
            remedy=f"Give the id of an incident. Open incidents: {known}.",
        )
    new = Acknowledgement(incident.incident_id, incident.opened, incident.last_day, user, note)
    with lock(settings, "incidents"):
        stored = [item for item in read_acknowledgements(lake) if item.opened == incident.opened]
        others = [item for item in stored if (item.incident_id, item.user) != (new.incident_id, user)]
        rows = [asdict(item) | {"dt": item.opened} for item in (*others, new)]
        lake.table(ACKNOWLEDGEMENTS_TABLE).replace([incident.opened], pa.Table.from_pylist(rows, _ACKNOWLEDGEMENTS))
    return new


def read_acknowledgements(lake: Lake) -> list[Acknowledgement]:
    """Return all acknowledgements in the order of their days.

    Args:
        lake: The lake with ``monitoring/acknowledgements``.
    """
    rows = _rows(lake.table(ACKNOWLEDGEMENTS_TABLE))
    found = [Acknowledgement(opened=row.pop("dt"), **row) for row in rows]
    return sorted(found, key=lambda item: item.day)


def lock(settings: Settings, name: str) -> FileLock:
    """Return a lock between the processes that share the reports' folder.

    Args:
        settings: The reports' folder.
        name: The name of the lock.
    """
    settings.reports_dir.mkdir(parents=True, exist_ok=True)
    return FileLock(settings.reports_dir / f".{name}.lock")


def _next(
    kind: Kind, previous: Incident | None, facts: IncidentFacts, result: dict[str, Any], day: dt.date
) -> Incident | None:
    """Return the incident of a day after the previous incident of the kind; None if none is open."""
    if previous is not None and not previous.open:
        previous = None
    if previous is None and not facts.starts:
        return None
    severity = previous.severity if previous and facts.severity is None else cast(float, facts.severity)
    change = "opened" if previous is None else _change(previous, facts, severity)
    opened = previous.opened if previous else day
    return Incident(
        incident_id=f"{kind}-{opened}",
        kind=kind,
        opened=opened,
        last_day=day,
        open=change != "resolved",
        change=change,
        severity=severity,
        reported=previous.reported if previous and change in ("unchanged", "resolved") else severity,
        peak=max(severity, previous.peak) if previous else severity,
        model_version=facts.model_version,
        title=f"{kind.capitalize()} of {result['project']} since {opened}",
        lines=facts.lines,
        report=result["report"],
    )


def _change(previous: Incident, facts: IncidentFacts, severity: float) -> Change:
    if facts.ends:
        return "resolved"
    if severity >= previous.reported * REPORTED_STEP:
        return "worse"
    if severity * REPORTED_STEP <= previous.reported:
        return "better"
    return "unchanged"


def _read(table: Table) -> list[Incident]:
    """Return all rows in the order of days and kinds."""
    found = [Incident(last_day=row.pop("dt"), **row | {"lines": tuple(row["lines"])}) for row in _rows(table)]
    return sorted(found, key=lambda incident: (incident.last_day, KINDS.index(incident.kind)))


def _rows(table: Table) -> list[dict[str, Any]]:
    return table.read(table.days()).to_pylist() if table.exists() else []
