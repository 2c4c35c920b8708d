"""Simulate 150 days of a business with a change of the causes of churn: ``make timelapse``.

The real DAGs on a separate local stack process one simulated day after the other: files are delivered and ingested,
customers are scored, and the day is monitored; trainings and deployments follow from the product's rules. The endpoint
answers requests all the time.

Afterwards, the days are compared with the first model, which was never trained again, and with the best refit of each
week. The last line contains the figures; see ``benchmarks.timelapse.story.figures``.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.figures import print_figures, report
from benchmarks.timelapse.compare import best_refits, realised_days
from benchmarks.timelapse.simulation import Simulation, simulate
from benchmarks.timelapse.story import draw, events, figures, story_table
from benchmarks.timelapse.world import PROJECT, Plan
from include.ingest import ingest_days
from include.lake import open_lake
from include.local_files import write_atomically
from include.monitoring.incidents import read_incident_days
from include.projects import load_project
from include.settings import ROOT


def main(
    days: Annotated[int, typer.Option(help="The number of simulated days.", min=2)] = 150,
    change_day: Annotated[int, typer.Option(help="The simulated day on which the causes of churn change.", min=1)] = 60,
    history_days: Annotated[int, typer.Option(help="The number of days before the first simulated day.", min=1)] = 465,
    customers: Annotated[int, typer.Option(help="The approximate number of active customers.", min=10)] = 4000,
    picture: Annotated[Path, typer.Option(help="The file of the picture.")] = ROOT / "var" / "timelapse.svg",
    home: Annotated[Path | None, typer.Option(help="An empty folder to keep; by default a temporary folder.")] = None,
) -> None:
    """Simulate the days, and print the story and the figures."""
    if home is not None and home.exists() and any(home.iterdir()):
        raise typer.BadParameter(f"{home} is not empty.", param_hint="--home")
    if change_day > days:
        raise typer.BadParameter(f"The last day is {days}.", param_hint="--change-day")
    started = time.perf_counter()
    plan = Plan(days=days, change_day=change_day, history_days=history_days, customers=customers)
    with tempfile.TemporaryDirectory(prefix="churnflow-timelapse-") as scratch:
        place = home or Path(scratch)
        plan.generate(place)
        simulation = simulate(plan, place)
        _report(plan, simulation, picture, started)


def _report(plan: Plan, simulation: Simulation, picture: Path, started: float) -> None:
    report("Comparing with the first model and with the best refits.")
    ingest_days(simulation.settings, plan.epilogue)  # the labels of the simulated days; nothing is scored
    project, lake = load_project(PROJECT), open_lake(simulation.settings)
    realised = realised_days(project, lake, plan.simulated, simulation.first_model)
    weeks = [day for day in plan.simulated if project.is_snapshot_day(day)]
    hindsight = best_refits(project, lake, weeks, plan.epilogue.last)
    story = events(plan, simulation.days, read_incident_days(lake))
    Console(width=160).print(story_table(plan, story, realised, hindsight))
    write_atomically(picture, draw(plan, story, realised, hindsight))
    requests = simulation.requests
    details = {
        "plan": asdict(plan),
        "requests": requests.sent,
        "failures": dict(requests.failed),
        "answers_by_version": dict(requests.answers),
        "requested_on": {plan.number(day.day): day.requested for day in simulation.days if day.requested},
        "events": dict(Counter(event.kind for event in story)),
        "picture": str(picture),
        "seconds": round(time.perf_counter() - started),
    }
    print_figures("timelapse", figures(plan, simulation.days, realised, hindsight, requests.failed.total()), details)


if __name__ == "__main__":
    typer.run(main)
