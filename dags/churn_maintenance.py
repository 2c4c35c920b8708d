"""Trigger missing runs, send waiting messages, apply the retention periods, and check the readiness."""

from __future__ import annotations

from airflow.sdk import CronTriggerTimetable, dag, task

from dags.wiring.assets import GOLD, SCORES, emit_asset_events
from dags.wiring.defaults import common, project_timezone
from include.settings import get_settings

DOC = """
### Find missing days

Airflow drops an asset's event while the DAG that it would trigger is paused, and a run can fail. This DAG looks for
days in gold without a retention list, and for days with a list but without a monitoring report. It emits the events
that trigger `churn_score` and `churn_monitor` for these days. It also sends the messages that could not be sent
before, for example because Slack was not available.

`check_readiness` carries out the checks of the phase gates, and writes their page, which *Model health* links to. A
check that fails does not fail the run.

It considers the last `CHURN_TASKS__MAINTENANCE_DAYS` days up to the newest day in gold, and only days from the first
retention list on: the days of an ingested history have no list by design.

It does not emit a lost event of a training request or of a champion again: trigger `churn_train` or `churn_deploy`.

Afterwards it deletes all data that is older than the project's `keep_days` (`project.yaml`), relative to the newest day
in gold, joins the small files of each table, and deletes the files that only earlier versions of the tables contain and
that are older than a week. See `docs/privacy.md`. It also deletes the lineage events that are older than
`CHURN_TASKS__LINEAGE_DAYS` days.

Runs daily at 06:00 in the project's time zone with `CHURN_SCHEDULE=daily`, otherwise by hand. Unpause `churn_score` and
`churn_monitor` first. If you mark a task successful by hand, no event is emitted; trigger the DAG again.
"""


@dag(
    dag_id="churn_maintenance",
    dag_display_name="7 · Maintain",
    description="Trigger missing runs, send waiting messages, apply the retention periods, check the readiness.",
    doc_md=DOC,
    schedule=(
        CronTriggerTimetable("0 6 * * *", timezone=project_timezone()) if get_settings().schedule == "daily" else None
    ),
    **common("monitoring"),
)
def churn_maintenance() -> None:
    @task(outlets=[GOLD])
    def request_scores() -> list[str]:
        """Trigger the scoring of days in gold without a retention list; skip if there are none."""
        from include.monitoring.catch_up import find_missing_days

        return emit_asset_events(GOLD, find_missing_days(get_settings()).scores)

    @task(outlets=[SCORES])
    def request_reports() -> list[str]:
        """Trigger the monitoring of days with a retention list, but without a report; skip if there are none."""
        from include.monitoring.catch_up import find_missing_days

        return emit_asset_events(SCORES, find_missing_days(get_settings()).reports)

    @task
    def send_messages() -> dict[str, int]:
        """Send the messages that could not be sent before."""
        from dags.wiring.alerts import send_waiting

        return send_waiting()

    @task
    def check_readiness() -> dict[str, dict[str, int]]:
        """Check the phase gates, write their page, and return the number of passed checks of each gate."""
        import datetime as dt

        from include.readiness.gates import run_checks

        return run_checks(get_settings(), dt.datetime.now(dt.UTC)).counts()

    @task
    def apply_periods() -> dict[str, int]:
        """Delete the data that is older than its retention period."""
        from include.privacy.periods import apply_periods
        from include.projects import load_project

        settings = get_settings()
        return apply_periods(load_project(settings.project), settings)

    @task(trigger_rule="all_done")
    def compact_tables() -> dict[str, int]:
        """Join small files, and delete files that only earlier versions of the tables contain."""
        from include.privacy.periods import compact_tables

        return compact_tables(get_settings())

    @task
    def delete_lineage_events() -> int:
        """Delete the lineage events that are older than ``CHURN_TASKS__LINEAGE_DAYS`` days."""
        import datetime as dt

        from include.privacy.periods import delete_lineage_events

        return delete_lineage_events(get_settings(), dt.datetime.now(dt.UTC))

    request_scores()
    request_reports()
    send_messages()
    check_readiness()
    delete_lineage_events()
    apply_periods() >> compact_tables()


churn_maintenance()
