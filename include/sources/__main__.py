"""``python -m include.sources audit``: audit the sources of the configured project for a day or a range of days."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.days import DayError, DayRange, parse_day
from include.lake import open_lake
from include.logs import configure_json_logs
from include.projects import load_project
from include.settings import get_settings
from include.sources.audit import audit_sources
from include.sources.connections import Connections

app = CommandLine()


@app.callback()
def sources() -> None:
    """Inspect the sources of the configured project."""


@app.command()
def audit(
    day: Annotated[str | None, typer.Option(help="One day, YYYY-MM-DD.")] = None,
    from_day: Annotated[str | None, typer.Option(help="The first day of a range.")] = None,
    to_day: Annotated[str | None, typer.Option(help="The last day of a range.")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Accept changed types as the new schema.")] = False,
) -> None:
    """Write the audit report, and print its path and the figures of each source as JSON.

    Databases are read from CHURN_DATABASES__<NAME>; the connections of Airflow are available only to its tasks.
    """
    settings, days = get_settings(), _days(day, from_day, to_day)
    project, lake = load_project(settings.project), open_lake(settings)
    reports = settings.reports_dir / "audit"
    found = audit_sources(project, lake, Connections.from_settings(settings), days, reports, accept=accept)
    typer.echo(json.dumps(found, indent=1))


def _days(day: str | None, first: str | None, last: str | None) -> DayRange:
    if day and not first and not last:
        return DayRange.single(parse_day(day))
    if first and last and not day:
        return DayRange(parse_day(first), parse_day(last))
    raise DayError(
        "The days of the audit are missing or ambiguous.",
        where="the command line",
        remedy="Give --day, or both --from-day and --to-day.",
    )


if __name__ == "__main__":
    configure_json_logs()
    app()
