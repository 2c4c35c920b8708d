"""Ingest raw files into gold, for a day or a range of days."""

from __future__ import annotations

import datetime as dt
from typing import Any

from airflow.sdk import CronPartitionTimetable, dag, get_current_context, task

from dags.wiring.assets import GOLD, TRAINING_REQUEST, emit_asset_event
from dags.wiring.connections import project_connections
from dags.wiring.day import day_param, resolve_days
from dags.wiring.deadline import list_deadline
from dags.wiring.defaults import START, common, project_timezone, schedule_note
from include.settings import get_settings

DOC = f"""
### Ingest raw files into gold

Audits every source, stores the delivered rows in **bronze**, converts and checks them for **silver** (rejected rows go
to quarantine with the violated rules), computes and checks point-in-time **features**, and replaces the day in
**gold**. Labels are added after their horizon. A second run of a day with the same deliveries changes nothing.

{schedule_note()}

* **One day**: trigger the DAG with a last day only.
* **Several days, in any order**: `airflow backfill create --dag-id churn_ingest --from-date A --to-date B
  --max-active-runs 4`. A backfill takes its days from its dates; parameters with other days are refused.
* **A long history**: trigger the DAG once with a first and a last day; one run processes the range.

If you mark `build_silver_and_gold` or `request_training` successful by hand, no event is emitted: no list is scored, or
no training starts. `churn_maintenance` finds the missing list; trigger `churn_train` for the training.
"""


@dag(
    dag_id="churn_ingest",
    dag_display_name="1 · Ingest",
    description=f"Ingest raw files into gold. {schedule_note().replace('*', '').replace('`', '')}",
    doc_md=DOC,
    # At midnight, because the dates of a backfill are at midnight, and it selects the partitions between them.
    schedule=CronPartitionTimetable("0 0 * * *", timezone=project_timezone(), run_offset=-1, key_format="%Y-%m-%d"),
    # Airflow cannot backfill a DAG without a schedule. After its end date, a DAG has no scheduled runs, but Airflow can
    # still backfill it.
    end_date=START + dt.timedelta(days=1) if get_settings().schedule == "off" else None,
    params={
        "from_day": day_param("First day", "The first day of a range; empty for one day."),
        "to_day": day_param("Last day", "The day, or the last day of a range."),
    },
    **list_deadline("gold/features"),
    **common("data"),
)
def churn_ingest() -> None:
    @task
    def audit_sources() -> dict[str, Any]:
        """Audit every source before any write; reject a schema that is incompatible with the previous audit."""
        from include.lake import open_lake
        from include.projects import load_project
        from include.sources.audit import audit_sources

        settings, days = get_settings(), resolve_days(get_current_context())
        project, lake = load_project(settings.project), open_lake(settings)
        return audit_sources(project, lake, project_connections(), days, settings.reports_dir / "audit")

    @task
    def load_bronze() -> list[dict[str, Any]]:
        """Store every row as delivered."""
        from include.lake import open_lake
        from include.projects import load_project
        from include.sources.bronze import load_bronze

        settings = get_settings()
        project, lake, days = load_project(settings.project), open_lake(settings), resolve_days(get_current_context())
        results = load_bronze(project, lake, project_connections(), days, settings.privacy)
        return [result.as_dict() for result in results]

    @task(outlets=[GOLD])
    def build_silver_and_gold() -> list[dict[str, Any]]:
        """Write the checked rows to silver and the checked features to gold; fail if a gate is shut."""
        from include.ingest import refine
        from include.lake import open_lake
        from include.projects import load_project

        settings, context = get_settings(), get_current_context()
        days = resolve_days(context)
        reports = settings.reports_dir / "quality"
        results = refine(load_project(settings.project), open_lake(settings), days, reports)
        emit_asset_event(context, GOLD, days.last, version=results[-1].version, rows=results[-1].rows_written)
        return [result.as_dict() for result in results]

    @task
    def build_labels() -> dict[str, Any]:
        """Label the gold rows of days with a complete horizon."""
        from include.features.labels import build_labels
        from include.lake import open_lake
        from include.projects import load_project

        settings = get_settings()
        days = resolve_days(get_current_context())
        return build_labels(load_project(settings.project), open_lake(settings), days).as_dict()

    @task(outlets=[TRAINING_REQUEST])
    def request_training() -> str:
        """Request a training if one is due on these days; otherwise skip."""
        from airflow.sdk.exceptions import AirflowSkipException

        from include.projects import load_project

        context = get_current_context()
        days = resolve_days(context)
        if not load_project(get_settings().project).is_training_due(days):
            raise AirflowSkipException(f"No training is due in {days}.")
        emit_asset_event(context, TRAINING_REQUEST, days.last, reason="due")
        return str(days.last)

    audit_sources() >> load_bronze() >> build_silver_and_gold() >> build_labels() >> request_training()


churn_ingest()
