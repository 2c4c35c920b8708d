"""Changes of the labels in the drift benchmark. Only the realised performance can find them."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE
from include.monitoring.performance import evaluate_model, read_labels
from include.projects import Project
from include.training.data.build import build_dataset
from include.training.data.rows import load_rows, model_contract
from include.training.evaluation.measure import measure
from include.training.fitting.recipe_fitter import RecipeFitter
from include.training.model.bundle import Bundle
from include.training.model.contract import RecipeEvaluation, reaches_threshold
from include.training.recipe import Recipe

BASE_RATE, CONCEPT = "base rate +.5 logit", "concept change"
LOGIT = 0.5
MIXED = 0.5
"""The share of customers whose labels are exchanged: churn then has other causes, at the same rate."""
FOUND_WITHIN = 56
"""The number of days whose snapshots have changed labels and are evaluated."""


class Tested(NamedTuple):
    """A model that is fitted on the training rows, and its evaluation on the test."""

    bundle: Bundle
    evaluation: RecipeEvaluation


def fit_tested(project: Project, lake: Lake, through: dt.date, recipe: Recipe) -> Tested:
    """Return a model of a recipe with its evaluation on the test of a training on ``through``.

    Args:
        project: The project.
        lake: The lake.
        through: The day of the training.
        recipe: The recipe.
    """
    with tempfile.TemporaryDirectory() as folder:
        dataset = build_dataset(project, lake, through, Path(folder))
        contract = model_contract(project, dataset.manifest)
        train, test = (load_rows(dataset, dataset.manifest.parts[name], contract) for name in ("train", "test"))
        fitter = RecipeFitter(project, dataset, contract, "cpu", 1)
        bundle = fitter.fit(train, recipe).bundle(contract)
    probabilities = bundle.predict_matrix(test.matrix).astype(np.float64)
    offered = reaches_threshold(probabilities, contract.threshold)
    evaluation = RecipeEvaluation(
        trained_through=dataset.manifest.train.days[-1],
        first_day=dataset.manifest.test.days[0],
        last_day=dataset.manifest.test.days[-1],
        metrics=measure(project, test.customers, test.churned, probabilities, offered),
        estimate_errors={},
    )
    return Tested(bundle, evaluation)


def days_to_find(project: Project, lake: Lake, tested: Tested, start: dt.date, seed: int) -> dict[str, int | None]:
    """Return the days until the verdict ``decayed``, by kind of change; None if there is no such verdict.

    The labels of the snapshots from ``start`` on are changed. A snapshot is evaluated one horizon later.

    Args:
        project: The project.
        lake: The lake, with features and labels of the snapshots.
        tested: The model.
        start: The first day with other labels.
        seed: The seed of the changed labels.
    """
    days = [start + dt.timedelta(days=number) for number in range(FOUND_WITHIN)]
    snapshots = [day for day in days if project.is_snapshot_day(day)]
    rows = _scored(project, lake, tested.bundle, snapshots)
    found: dict[str, int | None] = {}
    for kind, changed in _changed(rows, seed).items():
        found[kind] = _first_decay(project, tested, changed, start)
    return found


def _scored(project: Project, lake: Lake, bundle: Bundle, days: Sequence[dt.date]) -> pd.DataFrame:
    contract = bundle.contract
    features = lake.table(FEATURES_TABLE).read(days, ["dt", "customer_id", *contract.feature_names])
    rows = features.select(["dt", "customer_id"]).to_pandas()
    rows["churn_probability"] = bundle.predict(features.select(contract.feature_names))
    rows["prediction"] = np.where(contract.predicts_churn(rows["churn_probability"]), "churn", "retain")
    labelled: pd.DataFrame = rows.merge(read_labels(lake, project, days), on=["dt", "customer_id"])
    return labelled


def _changed(rows: pd.DataFrame, seed: int) -> Mapping[str, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    codes, customers = pd.factorize(rows["customer_id"])
    before = rows["churn_probability"].to_numpy(float)
    added = (expit(logit(before) + LOGIT) - before) / (1 - before)
    drawn = rng.random(len(customers))[codes] < added
    mixed = (rng.random(len(customers)) < MIXED)[codes]
    exchanged = rows["churned"].to_numpy().copy()
    for day in rows["dt"].unique():
        at = np.flatnonzero(mixed & (rows["dt"] == day).to_numpy())
        exchanged[at] = exchanged[rng.permutation(at)]
    return {
        BASE_RATE: rows.assign(churned=np.where(drawn, 1, rows["churned"])),
        CONCEPT: rows.assign(churned=exchanged),
    }


def _first_decay(project: Project, tested: Tested, rows: pd.DataFrame, start: dt.date) -> int | None:
    days: list[dt.date] = sorted(rows["dt"].unique())
    for day in days:
        scored = rows[rows["dt"] == day]
        if evaluate_model("1", scored, tested.evaluation, project).verdict == "decayed":
            return (day - start).days + project.label.horizon_days
    return None
