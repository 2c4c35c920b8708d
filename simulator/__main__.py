"""``python -m simulator``: generate a simulated subscription business, or fill a database with it."""

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

_TELL_EVERY_SECONDS = 5.0

Out = Annotated[
    Path,
    typer.Option(
        help="The world's folder; the deployment's home.", file_okay=False, default_factory=lambda: get_settings().home
    ),
]


class _Progress:
    """A line on standard error every few seconds."""

    def __init__(self) -> None:
        self.start = self.last = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.start

    def tell(self, text: str) -> None:
        if time.perf_counter() - self.last >= _TELL_EVERY_SECONDS:
            self.last = time.perf_counter()
            typer.echo(f"{text} ({self.seconds:.0f} s)", err=True)


@app.command()
def generate(
    out: Out,
    customers: Annotated[int, typer.Option(help="Customers known by the end of the first --pace-days.")],
    from_day: Annotated[str, typer.Option(help="The world's first day, YYYY-MM-DD.")],
    to_day: Annotated[str, typer.Option(help="The last day wanted; days that are there already stay.")],
    seed: Annotated[int, typer.Option(help="Seeds everything.")] = 1,
    pace_days: Annotated[int, typer.Option(help="The days over which --customers is counted.")] = 730,
    inject: Annotated[list[str] | None, typer.Option(help="kind:day or kind:day:strength; may be repeated.")] = None,
) -> None:
    """Write the landing files of a simulated business, day by day; later days can be appended with the same options."""
    progress = _Progress()
    world = World(customers=customers, first_day=parse_day(from_day), seed=seed, pace_days=pace_days)
    injections = tuple(parse_injection(text) for text in inject or [])

    def told(day: dt.date, events: int) -> None:
        progress.tell(f"{day}: {events:,} events")

    done = generate_world(out, world, parse_day(to_day), injections, told=told)
    typer.echo(
        f"{done.days} days up to {done.last_day}: {done.events:,} events, {done.changes:,} customer rows, "
        f"{done.bytes / 1e6:,.0f} MB, {done.active_customers:,} customers active, {progress.seconds:.1f} s"
    )


@app.command()
def fill(
    out: Out,
    database_url_env: Annotated[str, typer.Option(help="The environment variable that holds the database's address.")],
    schema: Annotated[str, typer.Option(help="The schema; made where it does not exist.")] = "shop",
) -> None:
    """Load the landing files of a world into a PostgreSQL schema."""
    url = os.environ.get(database_url_env)
    if not url:
        raise typer.BadParameter(f"the environment variable {database_url_env} is not set")
    progress = _Progress()
    loaded = fill_database(
        out / LANDING, url, schema, told=lambda source, day, rows: progress.tell(f"{source} {day}: {rows:,} rows")
    )
    rows = ", ".join(f"{count:,} {table}" for table, count in loaded.items())
    typer.echo(f"{schema}: {rows}, {progress.seconds:.1f} s")


if __name__ == "__main__":
    app()
