"""Realised AUC and saving of each simulated day: with retraining, with the first model only, and of the best refit."""

from __future__ import annotations

import datetime as dt
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.freshness import HYPERPARAMETERS, refit_aucs
from include.lake import Lake
from include.lake.table_names import FEATURES_TABLE
from include.monitoring.performance import read_labelled_scores
from include.projects import Project
from include.training.data.build import build_dataset
from include.training.data.rows import concatenate, load_rows, model_contract
from include.training.evaluation.decisions import savings
from include.training.fitting.recipe_fitter import RecipeFitter
from include.training.model.bundle import Bundle
from include.training.recipe import Recipe


@dataclass(frozen=True)
class RealisedDay:
    """The outcome of the scores of a day, with the labels of the following 30 days.

    Attributes:
        day: The day.
        auc_with: The AUC of the day's retention list.
        auc_without: The AUC of the first model on the same customers.
        saving_with: US dollars saved per 1,000 customers by the offers of the retention list, compared with no offers.
        saving_without: The saving by the offers of the first model.
    """

    day: dt.date
    auc_with: float
    auc_without: float
    saving_with: float
    saving_without: float


def realised_days(project: Project, lake: Lake, days: Iterable[dt.date], first_model: Bundle) -> list[RealisedDay]:
    """Return the outcome of the scores of some days.

    Args:
        project: The project: its label and costs.
        lake: The lake, with the features, scores and labels of the days.
        days: The days.
        first_model: The model that is never trained again.
    """
    return [_realised(project, lake, day, first_model) for day in days]


def best_refits(project: Project, lake: Lake, days: Iterable[dt.date], through: dt.date) -> dict[dt.date, float]:
    """Return the AUC of the best refit on each of some snapshot days.

    On each day, a booster is fitted on all snapshots whose labels are known at the end of the day, once for each option
    of the weights of the rows. The best option is chosen in hindsight, by its AUC on the day.

    Args:
        project: The project.
        lake: The lake, with the features and labels of all snapshots.
        days: The snapshot days.
        through: The day at whose end the labels of all these days are known.
    """
    with tempfile.TemporaryDirectory() as folder:
        dataset = build_dataset(project, lake, through, Path(folder))
        contract = model_contract(project, dataset.manifest)
        rows = concatenate([load_rows(dataset, part, contract) for part in dataset.manifest.parts.values()])
    fitter = RecipeFitter(project, dataset, contract, "cpu", 2)
    recipe = Recipe(features=tuple(contract.feature_names), hyperparameters=HYPERPARAMETERS)
    horizon = np.timedelta64(dataset.manifest.horizon_days, "D")
    found = {}
    for day in days:
        known = rows.where(rows.days + horizon <= np.datetime64(day))
        found[day] = max(refit_aucs(fitter, recipe, known, rows.where(rows.on_days([day]))).values())
    return found


def _realised(project: Project, lake: Lake, day: dt.date, first_model: Bundle) -> RealisedDay:
    scores = read_labelled_scores(lake, project, [day])
    contract = first_model.contract
    features = lake.table(FEATURES_TABLE).read([day], ["customer_id", *contract.feature_names])
    first = pd.DataFrame(
        {
            "customer_id": features["customer_id"].to_pandas(),
            "first": first_model.predict_matrix(contract.encode(features.select(list(contract.feature_names)))),
        }
    )
    rows = scores.merge(first, on="customer_id", validate="one_to_one")
    churned = rows["churned"].to_numpy(dtype=np.int8)
    costs = project.requirements.costs

    def saving(offered: pd.Series) -> float:
        return float(savings(churned, offered.to_numpy(), costs).mean() * 1000)

    return RealisedDay(
        day=day,
        auc_with=float(roc_auc_score(churned, rows["churn_probability"])),
        auc_without=float(roc_auc_score(churned, rows["first"])),
        saving_with=saving(rows["prediction"] == "churn"),
        saving_without=saving(rows["first"] >= contract.threshold),
    )
