"""The state of the pipeline as Prometheus metrics: rows, freshness, open incidents, and the limits of alert rules.

The numbers of rows and the days come from Delta's logs, so no rows are read. A time is the end of a day in the
project's time zone; an alert rule computes the age from it.
"""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

from include.days import DayRange
from include.lake import Lake, open_lake
from include.lake.table_names import FEATURES_TABLE, SCORES_TABLE, SILVER_DAYS_TABLE, quarantine_table, silver_table
from include.monitoring.exposition import Exposition
from include.monitoring.incident_facts import KINDS
from include.monitoring.incidents import read_incidents
from include.monitoring.results import result_days
from include.projects import Project
from include.retention.due import list_due
from include.settings import Settings

_ALL_DAYS = DayRange(dt.date.min, dt.date.max)


def add_pipeline_metrics(project: Project, settings: Settings, out: Exposition) -> None:
    """Add the metrics of the pipeline.

    Args:
        project: The sources, the time zone and the requirements.
        settings: The lake, the reports' folder and the schedule.
        out: The exposition to which they are added.
    """
    lake = open_lake(settings)
    _sources(project, lake, out)
    gold, lists = _newest(lake, FEATURES_TABLE), _newest(lake, SCORES_TABLE)
    monitored = max(result_days(settings.reports_dir), default=None)
    for name, text, day in (
        ("churn_gold_day_timestamp_seconds", "Time at which the newest day in gold ended.", gold),
        ("churn_retention_list_day_timestamp_seconds", "Time at which the day of the newest list ended.", lists),
        ("churn_monitoring_day_timestamp_seconds", "Time at which the newest monitored day ended.", monitored),
    ):
        out.set(name, text, _end(day, project))
    if settings.schedule == "daily" and lists is not None:
        due = list_due(lists + dt.timedelta(days=1), settings.tasks.list_by, project.timezone)
        out.set("churn_retention_list_due_timestamp_seconds", "Time at which the next list is due.", due.timestamp())
    daily = float(settings.schedule == "daily")
    out.set("churn_schedule_daily", "1 if each day is ingested automatically, else 0.", daily)
    open_kinds = [incident.kind for incident in read_incidents(lake) if incident.open]
    for kind in KINDS:
        out.set("churn_incidents_open", "Number of open incidents.", open_kinds.count(kind), kind=kind)
    limit = project.requirements.performance.max_inference_p99_ms / 1000
    out.set("churn_required_latency_p99_seconds", "Largest 99 % quantile of the latency by the requirements.", limit)


def _sources(project: Project, lake: Lake, out: Exposition) -> None:
    ingested = _newest(lake, SILVER_DAYS_TABLE)
    for name in project.sources:
        accepted = lake.table(silver_table(name)).row_counts(_ALL_DAYS)
        newest = max(accepted, default=None)
        text = "Time at which the newest day with rows of the source ended."
        out.set("churn_source_day_timestamp_seconds", text, _end(newest, project), source=name)
        if ingested is not None:
            refused = lake.table(quarantine_table(name)).row_counts([ingested]).get(ingested, 0)
            text = "Rows of the source on the newest ingested day that passed their checks."
            out.set("churn_source_rows", text, accepted.get(ingested, 0), source=name)
            text = "Rows of the source on the newest ingested day that were sent to quarantine."
            out.set("churn_source_refused_rows", text, refused, source=name)
        checks = project.checks.get(name)
        if checks is not None and checks.freshness is not None:
            text = "Largest age of the newest rows of the source by its freshness check."
            seconds = checks.freshness.max_age_days * 86_400
            out.set("churn_source_max_age_seconds", text, seconds, source=name)


def _newest(lake: Lake, table: str) -> dt.date | None:
    return max(lake.table(table).days(), default=None)


def _end(day: dt.date | None, project: Project) -> float | None:
    if day is None:
        return None
    return dt.datetime.combine(day + dt.timedelta(days=1), dt.time(), ZoneInfo(project.timezone)).timestamp()
