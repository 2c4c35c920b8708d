"""The ingest, from source data to gold and labels.

``python -m include.ingest 2017-01-01 2017-12-17`` executes the steps of the DAG ``churn_ingest`` in one process.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.days import DayRange, parse_day
from include.features.gold import build_gold
from include.features.labels import build_labels
from include.lake import Lake, StepResult, open_lake
from include.logs import configure_json_logs
from include.projects import Project, load_project
from include.quality.silver import build_silver
from include.settings import Settings, get_settings
from include.sources.audit import audit_sources
from include.sources.bronze import load_bronze
from include.sources.connections import Connections


def ingest_days(settings: Settings, days: DayRange) -> list[StepResult]:
    """Ingest days from their sources to gold and labels, and return one result per step and table.

    The tables do not depend on the order, repetition or concurrency of runs, nor on earlier crashes.

    Args:
        settings: The settings of the deployment.
        days: The days.

    Raises:
        ChurnflowError: Data is missing, unreadable or refused by a gate; later steps are not executed.
    """
    project, lake = load_project(settings.project), open_lake(settings)
    connections = Connections.from_settings(settings)
    audit_sources(project, lake, connections, days, settings.reports_dir / "audit")
    results = load_bronze(project, lake, connections, days, settings.privacy)
    results += refine(project, lake, days, settings.reports_dir / "quality")
    return [*results, build_labels(project, lake, days)]


def refine(project: Project, lake: Lake, days: DayRange, reports: Path) -> list[StepResult]:
    """Build silver and gold in one process, so Great Expectations is imported only once.

    Gold is also built for later days if their silver was rebuilt because of duplicates.

    Args:
        project: The project.
        lake: Its lake.
        days: The days.
        reports: The folder of reports.

    Raises:
        GateError: Too few rows pass, or a rule on a whole table is violated; the message states the report.
    """
    silver = build_silver(project, lake, days, reports)
    return [*silver, build_gold(project, lake, days, reports, rebuilt=_built(silver, days))]


def _built(silver: Sequence[StepResult], days: DayRange) -> DayRange:
    later = [dt.date.fromisoformat(day) for item in silver for day in (item.detail or {}).get("days_rebuilt", [])]
    return DayRange(days.first, max([days.last, *later]))


app = CommandLine()


@app.command()
def main(
    first: Annotated[str, typer.Argument(help="The first day, YYYY-MM-DD.")],
    last: Annotated[str | None, typer.Argument(help="The last day; by default the first day.")] = None,
) -> None:
    """Ingest days of the configured project from their sources to gold, without Airflow."""
    configure_json_logs()
    for result in ingest_days(get_settings(), DayRange(parse_day(first), parse_day(last or first))):
        typer.echo(json.dumps(result.as_dict()))


if __name__ == "__main__":
    app()
