"""``python -m include.monitoring``: the backtest of the drift rule, and acknowledgements of incidents."""

from __future__ import annotations

import datetime as dt
import getpass
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.days import DayRange, parse_day
from include.lake import open_lake
from include.logs import configure_json_logs
from include.monitoring.backtest import LargestChange, backtest, render
from include.monitoring.incidents import acknowledge
from include.projects import load_project
from include.retention.retention_list import ScoringError, deployed_bento
from include.serving.deployment.bento_store import load_model
from include.settings import get_settings

app = CommandLine()


@app.callback()
def main() -> None:
    """Commands on monitoring."""


@app.command(name="backtest")
def run_backtest(
    through: Annotated[str, typer.Option(help="The last day to replay (YYYY-MM-DD).")],
    days: Annotated[int, typer.Option(help="The number of days to replay, up to that day.", min=1)] = 3_650,
) -> None:
    """Replay drift detection on the project's past. Print the alarms a year and the lines for monitoring.yaml."""
    settings = get_settings()
    project = load_project(settings.project)
    try:
        bundle = load_model(deployed_bento(settings), settings)
    except ScoringError:
        bundle = None
    span = DayRange.ending(parse_day(through), days)
    result = backtest(project, open_lake(settings), bundle, span, _report)
    typer.echo(render(result, has_model=bundle is not None))


@app.command(name="acknowledge")
def run_acknowledge(
    incident: Annotated[str | None, typer.Option(help="The id. Default: the newest open incident.")] = None,
    user: Annotated[str | None, typer.Option(help="The name of the user. Default: that of the process.")] = None,
    note: Annotated[str, typer.Option(help="A remark for other users.")] = "",
) -> None:
    """State that a user works on an incident. The next run of churn_monitor or churn_maintenance sends the message."""
    found = acknowledge(get_settings(), user or getpass.getuser(), note, incident)
    typer.echo(f"{found.incident_id} is acknowledged by {found.user}.")


def _report(day: dt.date, largest: LargestChange) -> None:
    typer.echo(f"{day}  {largest.severity:5.2f}  {largest.text}", err=True)


if __name__ == "__main__":
    configure_json_logs()
    app()
