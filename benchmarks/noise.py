"""Models of pure noise: ``make bench NAME=noise``, about ten minutes for 200 tables.

Each table has features that are drawn independently of the label. The product's own functions train a model on it and
decide whether it may become the first champion. The correct decision is always no; the last line contains the number
of wrong decisions.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
import typer

from benchmarks.figures import print_figures, report
from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE, LABELS_TABLE
from include.projects import FeatureSpec, Project, load_project
from include.projects.scaffold import new_project
from include.settings import Settings
from include.training.candidate import Candidate, make_candidate
from include.training.data.build import build_dataset
from include.training.recipe_choice import NO_RANKING

DAY = dt.date(2026, 1, 1)
SNAPSHOTS = 30
RECENCY = "days_since_purchase"


def flat_project(folder: Path, trials: int) -> Project:
    """Return a project of a table without time, with two numbers as features, as ``projects new`` makes it.

    Args:
        folder: An empty folder for the project's files.
        trials: The number of tuning trials.
    """
    table = folder / "customers.csv"
    table.write_text(
        "customer,first,second,churn\n" + "".join(f"c{i},0.{i},1.{i},{['yes', 'no'][i % 2]}\n" for i in range(1, 9))
    )
    new_project("noise", table, customer="customer", label=("churn", "yes"), first_day=DAY, root=folder)
    return _shortened(load_project("noise", folder), trials)


def time_project(trials: int) -> Project:
    """Return the grocery project with three features: recency, spend and age.

    Args:
        trials: The number of tuning trials.
    """
    project = load_project("grocery")
    kept = {RECENCY, "spend_{window}d", "age"}
    families = [family for family in project.feature_families if family.name in kept]
    return _shortened(project.model_copy(update={"feature_families": families}), trials)


def _shortened(project: Project, trials: int) -> Project:
    training = project.training.model_copy(update={"n_trials": trials, "segments": ()})
    return project.model_copy(update={"training": training})


def write_noise(lake: Lake, project: Project, rows: int, churn: float, seed: int) -> dt.date:
    """Write gold tables whose features are independent of the label, and return the last day of the data.

    Args:
        lake: The lake.
        project: The project; with time, the rows are spread over 30 snapshots.
        rows: Number of rows.
        churn: The share of churners.
        seed: The seed of all draws.
    """
    random = np.random.default_rng(seed)
    days = _snapshots(project) if project.has_time else [DAY]
    for day in days:
        count = rows // len(days)
        keys = {
            "dt": pa.array([day] * count, pa.date32()),
            "customer_id": [f"c{number:05d}" for number in range(count)],
        }
        features = {spec.name: _column(spec, count, random) for spec in project.features}
        label = pa.array((random.random(count) < churn).astype(np.int8))
        lake.table(FEATURES_TABLE).replace(DayRange.single(day), pa.table(keys | features))
        lake.table(LABELS_TABLE).replace(DayRange.single(day), pa.table(keys | {project.label.name: label}))
    return days[-1] + dt.timedelta(days=project.label.horizon_days)


def _snapshots(project: Project) -> list[dt.date]:
    days = (project.first_snapshot + dt.timedelta(days=ahead) for ahead in range(7 * (SNAPSHOTS + 1)))
    return [day for day in days if project.is_snapshot_day(day)][:SNAPSHOTS]


def _column(spec: FeatureSpec, rows: int, random: np.random.Generator) -> pa.Array:
    if spec.categories:
        return pa.array(random.choice(spec.categories, rows))
    return pa.array(random.integers(0, 56, rows).astype(float) if spec.name == RECENCY else random.random(rows))


def train(project: Project, folder: Path, rows: int, churn: float, seed: int) -> Candidate:
    """Train on a table of noise, and return the candidate with the decision on its promotion.

    Args:
        project: The project.
        folder: A folder for the lake and the data set.
        rows: Number of rows.
        churn: The share of churners.
        seed: The seed of the table.
    """
    lake = Lake(str(folder / "lake"))
    last = write_noise(lake, project, rows, churn, seed)
    dataset = build_dataset(project, lake, last, folder / "dataset")
    return make_candidate(project, Settings(home=folder), dataset)


def _tables(tables: int, rows: int, churn: float, trials: int, with_time: bool) -> Iterator[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="churnflow-noise-") as home:
        (Path(home) / "projects").mkdir()
        project = time_project(trials) if with_time else flat_project(Path(home) / "projects", trials)
        for seed in range(tables):
            with tempfile.TemporaryDirectory(dir=home) as folder:
                candidate = train(project, Path(folder), rows, churn, seed)
            calibration, comparison = candidate.evaluated.calibration, candidate.comparison
            report(f"table {seed}: {'promoted' if comparison.promote else comparison.reason}")
            yield {
                "seed": seed,
                "promoted": comparison.promote,
                "auc": round(candidate.evaluation.auc, 4),
                "calibrator": calibration.chosen.name,
                "unreliable": bool(calibration.warning),
                "reason": comparison.reason,
            }


def main(
    tables: Annotated[int, typer.Option(help="Number of tables.")] = 200,
    rows: Annotated[int, typer.Option(help="Rows of each table.")] = 3_000,
    churn: Annotated[float, typer.Option(help="Share of churners.")] = 0.2,
    trials: Annotated[int, typer.Option(help="Tuning trials of each model.")] = 3,
    with_time: Annotated[bool, typer.Option(help="Snapshots with a recency feature, instead of one delivery.")] = False,
) -> None:
    """Train a model on each table; the last line contains the number of models that would become a first champion."""
    logging.disable(logging.WARNING)
    started = time.perf_counter()
    found = list(_tables(tables, rows, churn, trials, with_time))
    promoted = [table for table in found if table["promoted"]]
    details = {
        "rows": rows,
        "churn": churn,
        "with_time": with_time,
        "trials": trials,
        "no_skill": sum(table["reason"] == NO_RANKING for table in found),
        "calibrators": dict(Counter(table["calibrator"] for table in found)),
        "reasons": [json.dumps(table) for table in promoted],
        "seconds": round(time.perf_counter() - started),
    }
    print_figures("noise", {"tables": tables, "promoted": len(promoted)}, details)


if __name__ == "__main__":
    typer.run(main)
