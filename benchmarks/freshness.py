"""The AUC of models of weekly trainings: ``make bench NAME=freshness``, about ten minutes.

Two worlds are replayed: a year of the grocery data, and a simulated business whose churn has other causes from a day
on. At the end of each snapshot day, a booster is fitted on all rows whose labels are known, and scores the customers of
this day. The boosters have fixed hyperparameters. The half-life of the rows' weights is chosen as in the product. For
comparison, the same customers are scored by a booster of each other half-life, and by the first booster of the replay.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from sklearn.metrics import roc_auc_score

from benchmarks.figures import print_figures, report
from include.days import DayRange
from include.ingest import ingest_days
from include.lake import open_lake
from include.projects import load_project
from include.settings import Settings
from include.training.data.build import build_dataset
from include.training.data.rows import Rows, concatenate, load_rows, model_contract
from include.training.fitting.history import half_life_text, half_lives
from include.training.fitting.recipe_fitter import RecipeFitter
from include.training.model.bundle import margins
from include.training.recipe import Hyperparameters, Recipe
from local.grocery_export import export
from simulator.generate import generate
from simulator.injections import Injection
from simulator.world import World

HYPERPARAMETERS = Hyperparameters(
    n_estimators=200, max_depth=4, learning_rate=0.05, subsample=0.8, colsample_bytree=0.5, min_child_weight=10
)
GROCERY = DayRange(dt.date(2017, 1, 1), dt.date(2017, 12, 31))
CHANGED = DayRange(dt.date(2023, 1, 1), dt.date(2024, 2, 24))
CHANGE = Injection(kind="changed_concept", from_day=dt.date(2023, 8, 1), strength=1.0)
CUSTOMERS = 12_000
MIN_SNAPSHOTS = 8
"""The number of snapshots of the first training."""
_INGEST_DAYS = 60


@dataclass(frozen=True)
class Week:
    """The scores of one snapshot.

    Attributes:
        day: The snapshot day.
        trained_through: The last snapshot of the training rows.
        chosen: The half-life of the served booster, as text.
        aucs: The AUC of the booster of each half-life, by the half-life as text.
        never_retrained: The AUC of the first booster of the replay.
    """

    day: dt.date
    trained_through: dt.date
    chosen: str
    aucs: dict[str, float]
    never_retrained: float


def grocery(home: Path) -> None:
    """Write and ingest the grocery year in an empty folder."""
    export(home / "landing" / "grocery", GROCERY)
    _ingest(Settings(home=home, project="grocery"), GROCERY)


def changed(home: Path) -> None:
    """Simulate and ingest a business whose churn has other causes from a day on, in an empty folder."""
    world = World(customers=CUSTOMERS, first_day=CHANGED.first, seed=1, pace_days=len(CHANGED))
    generate(home, world, CHANGED.last, (CHANGE,))
    _ingest(Settings(home=home, project="subscription"), CHANGED)


WORLDS: dict[str, tuple[str, Callable[[Path], None], dt.date, dt.date | None]] = {
    "grocery": ("grocery", grocery, GROCERY.last, None),
    "changed_world": ("subscription", changed, CHANGED.last, CHANGE.from_day + dt.timedelta(days=91)),
}
"""The project of each world, the function that makes it, its last day, and the first day that is scored.

The changed world is scored from three months after the change on. The training rows then have labels of one to two
months with the new causes.
"""


def replay(
    home: Path, folder: Path, project_name: str, last: dt.date, first_scored: dt.date | None, workers: int
) -> list[Week]:
    """Return the scores of each snapshot of a world.

    Args:
        home: The folder of the world.
        folder: The folder of the data set.
        project_name: The project of the world.
        last: The last day of the world.
        first_scored: The first day that is scored; None for all days after the first ``MIN_SNAPSHOTS`` known snapshots.
        workers: Number of parallel fits.
    """
    settings, project = Settings(home=home, project=project_name), load_project(project_name)
    dataset = build_dataset(project, open_lake(settings), last, folder)
    contract = model_contract(project, dataset.manifest)
    rows = concatenate([load_rows(dataset, part, contract) for part in dataset.manifest.parts.values()])
    fitter = RecipeFitter(project, dataset, contract, "cpu", workers)
    recipe = Recipe(features=tuple(contract.feature_names), hyperparameters=HYPERPARAMETERS)
    horizon = np.timedelta64(dataset.manifest.horizon_days, "D")
    first, weeks = None, []
    for day in rows.snapshot_days:
        known = rows.where(rows.days + horizon <= np.datetime64(day))
        if len(known.snapshot_days) < MIN_SNAPSHOTS:
            continue
        first = first or fitter.fit_booster(known, recipe, None).booster
        if first_scored is not None and day < first_scored:
            continue
        valid = rows.where(rows.on_days([day]))
        week = Week(
            day=day,
            trained_through=known.snapshot_days[-1],
            chosen=fitter.history(known, recipe).name,
            aucs=refit_aucs(fitter, recipe, known, valid),
            never_retrained=float(roc_auc_score(valid.churned, margins(first, valid.matrix))),
        )
        report(f"{project_name} {day}: {week.chosen}, AUC {week.aucs[week.chosen]:.4f}")
        weeks.append(week)
    return weeks


def figures(weeks: list[Week]) -> dict[str, float]:
    """Return the mean AUCs over the weeks.

    ``auc_hindsight`` is the mean of the highest AUC of each week, over all half-lives.
    """
    behind = [(week.day - week.trained_through).days / 7 for week in weeks]
    return {
        "auc_served": _mean([week.aucs[week.chosen] for week in weeks]),
        "auc_never_retrained": _mean([week.never_retrained for week in weeks]),
        "auc_hindsight": _mean([max(week.aucs.values()) for week in weeks]),
        "weeks_behind": round(float(np.mean(behind)), 2),
    }


def details(weeks: list[Week]) -> dict[str, Any]:
    """Return the weeks, the choices and the mean AUC of each half-life."""
    return {
        "weeks": len(weeks),
        "first_week": str(weeks[0].day),
        "last_week": str(weeks[-1].day),
        "chosen": dict(Counter(week.chosen for week in weeks)),
        "auc_by_option": {name: _mean([week.aucs[name] for week in weeks]) for name in weeks[0].aucs},
    }


def refit_aucs(fitter: RecipeFitter, recipe: Recipe, known: Rows, valid: Rows) -> dict[str, float]:
    """Return the AUC on ``valid`` of a booster that is fitted on ``known``, for each half-life as text."""

    def auc(half_life_days: float | None) -> float:
        booster = fitter.fit_booster(known, recipe, half_life_days).booster
        return float(roc_auc_score(valid.churned, margins(booster, valid.matrix)))

    options = half_lives(fitter.dataset.manifest.horizon_days)
    with ThreadPoolExecutor(fitter.workers) as pool:
        return dict(zip(map(half_life_text, options), pool.map(auc, options), strict=True))


def _ingest(settings: Settings, days: DayRange) -> None:
    for block in days.blocks(_INGEST_DAYS):
        ingest_days(settings, block)


def _mean(values: list[float]) -> float:
    return round(float(np.mean(values)), 4)


def main(workers: Annotated[int, typer.Option(help="Number of parallel fits.")] = 2) -> None:
    """Replay both worlds; the last line contains the figures of both."""
    logging.disable(logging.WARNING)
    started = time.perf_counter()
    found: dict[str, dict[str, float]] = {}
    about: dict[str, Any] = {"hyperparameters": HYPERPARAMETERS.model_dump()}
    for name, (project, make, last, first_scored) in WORLDS.items():
        with tempfile.TemporaryDirectory(prefix=f"churnflow-{name}-") as folder:
            report(f"{name}: making the world")
            make(Path(folder))
            weeks = replay(Path(folder), Path(folder) / "dataset", project, last, first_scored, workers)
        found[name], about[name] = figures(weeks), details(weeks)
        report(json.dumps({name: found[name]}))
    print_figures("freshness", found, about | {"seconds": round(time.perf_counter() - started)})


if __name__ == "__main__":
    typer.run(main)
