"""``python -m simulator``: generate a simulated subscription business, or load it into a database."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from include.command_line import CommandLine
from include.days import parse_day
from include.settings import get_settings
from simulator.fill import fill as fill_database
from simulator.generate import LANDING
from simulator.generate import generate as generate_world
from simulator.injections import parse_injection
from simulator.world import World

app = CommandLine()

_REPORT_SECONDS = 5.0

Out = Annotated[
    Path,
    typer.Option(
        help="The folder of the world; default: the home of the deployment.",
        file_okay=False,
        default_factory=lambda: get_settings().home,
    ),
]


class _Progress:
    """Prints a progress line to standard error every few seconds."""

    def __init__(self) -> None:
        self.start = self.last = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start

    def report(self, text: str) -> None:
        if time.perf_counter() - self.last >= _REPORT_SECONDS:
            self.last = time.perf_counter()
            typer.echo(f"{text} ({self.seconds:.0f} s)", err=True)


@app.command()
def generate(
    out: Out,
    customers: Annotated[int, typer.Option(help="Number of customers by the end of the first --pace-days.")],
    from_day: Annotated[str, typer.Option(help="The first day of the world, YYYY-MM-DD.")],
    to_day: Annotated[str, typer.Option(help="The last day to generate; existing days are kept.")],
    seed: Annotated[int, typer.Option(help="The random seed.")] = 1,
    pace_days: Annotated[int, typer.Option(help="The number of days over which --customers is counted.")] = 730,
    inject: Annotated[list[str] | None, typer.Option(help="kind:day or kind:day:strength; may be repeated.")] = None,
) -> None:
    """Write the landing files of a simulated business; later days can be appended with the same options."""
    progress = _Progress()
    world = World(customers=customers, first_day=parse_day(from_day), seed=seed, pace_days=pace_days)
    injections = tuple(parse_injection(text) for text in inject or [])

    def report(day: dt.date, events: int) -> None:
        progress.report(f"{day}: {events:,} events")

    done = generate_world(out, world, parse_day(to_day), injections, report=report)
    typer.echo(
        f"{done.days} days up to {done.last_day}: {done.events:,} events, {done.changes:,} customer rows, "
        f"{done.bytes / 1e6:,.0f} MB, {done.active_customers:,} customers active, {progress.seconds:.1f} s"
    )


@app.command()
def fill(
    out: Out,
    database_url_env: Annotated[str, typer.Option(help="The environment variable with the database URL.")],
    schema: Annotated[str, typer.Option(help="The schema; it is created if it does not exist.")] = "shop",
) -> None:
    """Load the landing files of a world into a PostgreSQL schema."""
    url = os.environ.get(database_url_env)
    if not url:
        raise typer.BadParameter(f"the environment variable {database_url_env} is not set")
    progress = _Progress()
    loaded = fill_database(
        out / LANDING, url, schema, report=lambda source, day, rows: progress.report(f"{source} {day}: {rows:,} rows")
    )
    rows = ", ".join(f"{count:,} {table}" for table, count in loaded.items())
    typer.echo(f"{schema}: {rows}, {progress.seconds:.1f} s")


if __name__ == "__main__":
    app()
