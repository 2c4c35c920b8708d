"""Live 150 days with a change of the causes of churn: ``make timelapse``."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.timelapse.living import live
from benchmarks.timelapse.world import Plan


def main(
    days: Annotated[int, typer.Option(help="The number of lived days.", min=2)] = 150,
    change_day: Annotated[int, typer.Option(help="The lived day on which the causes of churn change.", min=1)] = 60,
    history_days: Annotated[int, typer.Option(help="The number of days before the first lived day.")] = 465,
    customers: Annotated[int, typer.Option(help="The approximate number of active customers.")] = 4500,
    home: Annotated[Path | None, typer.Option(help="An empty folder to keep; by default a temporary folder.")] = None,
) -> None:
    """Live the days, and print the story and the figures."""
    plan = Plan(days=days, change_day=change_day, history_days=history_days, customers=customers)
    with tempfile.TemporaryDirectory(prefix="churnflow-timelapse-") as folder:
        place = home or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        plan.generate(place)
        life = live(plan, place)
        print(json.dumps([asdict(day) for day in life.days], default=str))


if __name__ == "__main__":
    typer.run(main)
