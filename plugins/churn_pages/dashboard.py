"""The content of the page *Model health*: its parts, and what needs attention.

A part that cannot be read is shown as an error, and the other parts are still shown.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from churn_pages.models import TrainedModel, read_aliases, read_models
from churn_pages.runs import DagRuns, read_runs
from include.errors import ChurnflowError
from include.lake import open_lake
from include.lake.table_names import SCORES_TABLE
from include.logs import get_logger
from include.monitoring.health import ServedModel, served_model
from include.monitoring.history import read_history
from include.monitoring.incidents import Incident, read_incidents
from include.monitoring.results import RESULT_FILE, Report, ResultError, day_dir, list_reports, newest_result
from include.monitoring.summary import DaySummary
from include.projects import load_project
from include.readiness.results import ReadinessResult, read_results
from include.reporting.rendering import moment
from include.retention.due import list_due
from include.settings import Settings

T = TypeVar("T")

log = get_logger(__name__)


@dataclass(frozen=True)
class Part(Generic[T]):
    """A part of the page: its value, or the error of reading it."""

    name: str
    value: T | None = None
    error: ChurnflowError | None = None


@dataclass(frozen=True)
class RetentionList:
    """The newest retention list.

    Attributes:
        day: Its day.
        customers: The number of its customers.
        next_due: The time at which the list of the next day is due; None without a daily schedule.
    """

    day: dt.date
    customers: int
    next_due: dt.datetime | None


@dataclass(frozen=True)
class Problem:
    """A problem that needs attention.

    Attributes:
        text: The problem.
        level: ``bad`` if something fails, ``warn`` if it may become bad.
        anchor: The section of the page with the details; empty for none.
    """

    text: str
    level: str
    anchor: str = ""


@dataclass(frozen=True)
class Dashboard:
    """The parts of the page.

    Attributes:
        model: The deployed model; its value is None before the first deployment.
        newest_list: The newest retention list; its value is None before the first.
        result: The newest monitoring result; its value is None before the first.
        history: The summaries of the monitored days of a year, sorted by day.
        incidents: The incidents, newest first.
        trained: The trained versions, newest first.
        aliases: The version of each alias in the registry.
        dags: The DAGs with their newest runs.
        reports: The reports, newest first.
        readiness: The newest results of the phase gates; its value is None before the first.
    """

    model: Part[ServedModel]
    newest_list: Part[RetentionList]
    result: Part[dict[str, Any]]
    history: Part[list[DaySummary]]
    incidents: Part[list[Incident]]
    trained: Part[list[TrainedModel]]
    aliases: Part[dict[str, str]]
    dags: Part[list[DagRuns]]
    reports: Part[list[Report]]
    readiness: Part[ReadinessResult]

    @property
    def errors(self) -> list[Part[Any]]:
        """The parts that could not be read."""
        return [part for part in vars(self).values() if part.error]

    @property
    def open_incidents(self) -> list[Incident]:
        """The open incidents, newest first."""
        return [incident for incident in self.incidents.value or [] if incident.open]

    @property
    def is_empty(self) -> bool:
        """Whether no model serves and no day has been monitored."""
        return all(part.value is None and part.error is None for part in (self.model, self.result))


def read_dashboard(settings: Settings, readable: Set[str]) -> Dashboard:
    """Read all parts of the page.

    Args:
        settings: The deployment.
        readable: The ids of the DAGs that the user may read.
    """
    with ThreadPoolExecutor(1) as waiting:  # the registry may not answer until the time-out
        aliases = waiting.submit(_read, "Aliases of the registry", lambda: read_aliases(settings))
        return Dashboard(
            model=_read("Serving model", lambda: served_model(settings)),
            newest_list=_read("Retention list", lambda: _newest_list(settings)),
            result=_read("Newest monitoring result", lambda: _newest_result(settings)),
            history=_read("Monitored days", lambda: read_history(settings.reports_dir)),
            incidents=_read("Incidents", lambda: read_incidents(open_lake(settings))),
            trained=_read("Trained models", lambda: read_models(settings.reports_dir)),
            dags=_read("Runs", lambda: read_runs(readable)),
            reports=_read("Reports", lambda: list_reports(settings.reports_dir)),
            readiness=_read("Readiness", lambda: read_results(settings.reports_dir)),
            aliases=aliases.result(),
        )


def find_problems(dashboard: Dashboard, now: dt.datetime) -> list[Problem]:
    """Return what needs attention, the worst first.

    Args:
        dashboard: The parts of the page.
        now: The time.
    """
    found = [
        Problem(f"{incident.title} (open since {incident.opened})", "bad", "incidents")
        for incident in dashboard.open_incidents
    ]
    found += [
        Problem(
            f"The last run of {dag.name} failed" + (f" (day {dag.runs[0].day})." if dag.runs[0].day else "."),
            "bad",
            "runs",
        )
        for dag in dashboard.dags.value or []
        if dag.runs and dag.runs[0].state == "failed"
    ]
    found += [Problem(f"{part.name}: {part.error.what}", "warn", "errors") for part in dashboard.errors if part.error]
    newest = dashboard.newest_list.value
    if newest and newest.next_due and newest.next_due < now:
        missing = newest.day + dt.timedelta(days=1)
        found.append(Problem(f"The list of {missing} was due at {moment(newest.next_due)}.", "bad", "runs"))
    history = dashboard.history.value
    if newest and history and history[-1].day < newest.day:
        found.append(
            Problem(
                f"The list of {newest.day} has not been monitored; the newest monitored day is {history[-1].day}.",
                "warn",
                "runs",
            )
        )
    found += [
        Problem(f"Source {source.name}: {source.findings[0]}.", "warn", "sources")
        for source in (history[-1].sources if history else ())
        if source.findings
    ]
    champion, model = (dashboard.aliases.value or {}).get("champion"), dashboard.model.value
    if champion and model and champion != model.version:
        found.append(
            Problem(f"The champion is version {champion}, but version {model.version} serves.", "warn", "models")
        )
    return sorted(found, key=lambda problem: problem.level != "bad")


def _newest_result(settings: Settings) -> dict[str, Any] | None:
    result = newest_result(settings.reports_dir)
    if result is not None and not {"features", "features_day"} <= result["drift"].keys():
        raise ResultError(
            "The result has no day of its features, for example because an earlier release wrote it.",
            where=str(day_dir(settings.reports_dir, dt.date.fromisoformat(result["day"])) / RESULT_FILE),
            remedy="Run churn_monitor again for that day.",
        )
    return result


def _newest_list(settings: Settings) -> RetentionList | None:
    scores = open_lake(settings).table(SCORES_TABLE)
    newest = max(scores.days(), default=None)
    if newest is None:
        return None
    due = None
    if settings.schedule == "daily":
        timezone = load_project(settings.project).timezone
        due = list_due(newest + dt.timedelta(days=1), settings.tasks.list_by, timezone)
    return RetentionList(newest, sum(scores.row_counts([newest]).values()), due)


def _read(name: str, read: Callable[[], T | None]) -> Part[T]:
    try:
        return Part(name, read())
    except ChurnflowError as error:
        return Part(name, error=error)
    except Exception as error:
        log.exception("part of the page not readable", extra={"part": name})
        text = f"It cannot be read ({type(error).__name__})."
        remedy = "Read the traceback in the log of Airflow's api-server."
        return Part(name, error=ChurnflowError(text, where=name, remedy=remedy))
