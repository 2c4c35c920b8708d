"""Verdicts on realised performance, and estimates before labels are known: ``make bench NAME=performance``.

A simulated business with a yearly season is scored every day. Its model has fixed hyperparameters. It is fitted again
every four weeks on the snapshots whose labels are known, and is evaluated on a test as in the product.

* In a year without a change, every verdict ``decayed`` is false. It is compared with a rule on point estimates: the
  model has decayed if its AUC is lower than on the test by more than .03.
* In a copy of the business, the usage of the customers changes from a day on. The intervals of the estimates should
  contain the realised metrics.
* In another copy, churn has other causes from a day on. In addition, the labels of the year without a change are drawn
  again with log-odds that are higher by .5. The days until the first verdict ``decayed`` include the label's horizon.
"""

from __future__ import annotations

import datetime as dt
import logging
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from scipy.special import expit, logit

from benchmarks.figures import STARTED, print_figures, report_time
from benchmarks.performance_world import SEASON, SEED, Business
from include.days import DayRange
from include.lake.table_names import FEATURES_TABLE
from include.monitoring.performance import ModelPerformance, evaluate_model, read_labels
from include.projects import Project
from include.training.data.build import build_dataset
from include.training.data.rows import concatenate, load_rows, model_contract
from include.training.evaluation.estimate import estimate_errors, estimate_intervals, realised_metrics
from include.training.evaluation.measure import measure
from include.training.fitting.recipe_fitter import RecipeFitter
from include.training.model.contract import RecipeEvaluation, reaches_threshold
from include.training.recipe import Hyperparameters, Recipe
from simulator.injections import Injection
from simulator.world import MEAN_STAY_DAYS, World

FIRST_DAY = dt.date(2022, 1, 1)
SHIFT, CONCEPT, LOGIT = 0.5, 1.0, 0.5
"""The strengths of the covariate shift and of the changed concept, and the addition to the log-odds."""
OLD_RULE = 0.03
_HYPERPARAMETERS = Hyperparameters(
    n_estimators=100, max_depth=3, learning_rate=0.1, subsample=0.8, colsample_bytree=0.4, min_child_weight=20
)
_ESTIMATED = ("auc", "precision", "recall", "saving_usd_per_1000")


@dataclass(frozen=True)
class Scored:
    """The scores of some days.

    Attributes:
        rows: ``dt``, ``customer_id``, ``churn_probability``, ``prediction``, ``model_version`` and ``churned``.
        evaluations: The evaluation of each model version.
    """

    rows: pd.DataFrame
    evaluations: dict[str, RecipeEvaluation]


def score(business: Business, days: DayRange) -> Scored:
    """Score every day with a model that is fitted again every ``training.every_days`` days.

    Args:
        business: The business, with gold rows and labels of the days.
        days: The scored days.
    """
    project, evaluations, found = business.project, {}, []
    for number, block in enumerate(days.blocks(project.training.every_days)):
        version = str(number)
        with tempfile.TemporaryDirectory() as folder:
            dataset = build_dataset(project, business.lake, block.first - dt.timedelta(days=1), Path(folder))
            contract = model_contract(project, dataset.manifest)
            parts = {name: load_rows(dataset, part, contract) for name, part in dataset.manifest.parts.items()}
        fitter = RecipeFitter(project, dataset, contract, "cpu", 1)
        recipe = Recipe(features=tuple(contract.feature_names), hyperparameters=_HYPERPARAMETERS)
        test = parts["test"]
        tested = fitter.probabilities(fitter.fit(parts["train"], recipe), recipe, test)
        offered = reaches_threshold(tested, contract.threshold)
        evaluations[version] = RecipeEvaluation(
            trained_through=dataset.manifest.train.days[-1],
            first_day=dataset.manifest.test.days[0],
            last_day=dataset.manifest.test.days[-1],
            metrics=measure(project, test.customers, test.churned, tested.astype(np.float64), offered),
            estimate_errors=estimate_errors(project, test, tested, contract.threshold),
        )
        bundle = fitter.fit(concatenate(list(parts.values())), recipe).bundle(contract)
        features = business.lake.table(FEATURES_TABLE).read(list(block), ["dt", "customer_id", *contract.feature_names])
        scores = features.select(["dt", "customer_id"]).to_pandas()
        scores["churn_probability"] = bundle.predict_matrix(contract.encode(features.select(contract.feature_names)))
        scores["prediction"] = np.where(contract.predicts_churn(scores["churn_probability"]), "churn", "retain")
        scores["model_version"] = version
        found.append(scores.merge(read_labels(business.lake, project, list(block)), on=["dt", "customer_id"]))
        report_time(f"scored {block}")
    return Scored(pd.concat(found), evaluations)


def verdicts(project: Project, scored: Scored) -> dict[dt.date, ModelPerformance]:
    """Return the realised performance as in the product, for each day on which the labels of a whole window are known.

    Args:
        project: The project.
        scored: The scores.
    """
    days: list[dt.date] = sorted(scored.rows["dt"].unique())
    by_day, found = dict(list(scored.rows.groupby("dt"))), {}
    for last in days[project.monitoring.window_days - 1 :]:
        version = by_day[last]["model_version"].iloc[0]
        span = DayRange.ending(last, project.monitoring.window_days)
        rows = pd.concat([by_day[day] for day in span])
        rows = rows[rows["model_version"] == version].sort_values(["customer_id", "dt"])
        latest = rows.drop_duplicates("customer_id", keep="last")
        monitored = last + dt.timedelta(days=project.label.horizon_days)
        found[monitored] = evaluate_model(version, latest, scored.evaluations[version], project)
    return found


def coverage(project: Project, scored: Scored) -> dict[str, float]:
    """Return, for each metric, the share of days on which the interval of the estimate contains the realised value.

    Args:
        project: The project.
        scored: The scores.
    """
    covered: dict[str, list[bool]] = {name: [] for name in _ESTIMATED}
    for _, rows in scored.rows.groupby("dt"):
        probability, offered = rows["churn_probability"].to_numpy(float), rows["prediction"].to_numpy() == "churn"
        realised = realised_metrics(project, rows["churned"].to_numpy() == 1, probability, offered)
        errors = scored.evaluations[rows["model_version"].iloc[0]].estimate_errors
        estimates = estimate_intervals(project, probability, offered, errors)
        for name in _ESTIMATED:
            covered[name].append(estimates[name].low <= realised[name] <= estimates[name].high)
    return {name: round(float(np.mean(values)), 4) for name, values in covered.items()}


def with_higher_base_rate(scored: Scored, change: dt.date) -> Scored:
    """Return the scores with labels that are drawn with higher log-odds from the day ``change`` on.

    The label of a customer who stayed becomes churn with the additional probability. Each customer has one random
    number for all days.
    """
    rows = scored.rows.copy()
    before = rows["churn_probability"].to_numpy(float)
    added = (expit(logit(before) + LOGIT) - before) / (1 - before)
    codes, customers = pd.factorize(rows["customer_id"])
    drawn: NDArray[np.bool_] = np.random.default_rng(SEED).random(len(customers))[codes] < added
    rows["churned"] = rows["churned"].where(~(drawn & (rows["dt"] >= change)), 1)
    return Scored(rows, scored.evaluations)


def days_to_decay(found: dict[dt.date, ModelPerformance], change: dt.date) -> int | None:
    """Return the days from a change to the first verdict ``decayed``; None if there is none."""
    decayed = [day for day, model in found.items() if day >= change and model.verdict == "decayed"]
    return (min(decayed) - change).days if decayed else None


def is_decayed_by_point(model: ModelPerformance) -> bool:
    """Return whether the model has decayed by the rule on point estimates."""
    return model.promised["auc"].value - model.metrics["auc"].value > OLD_RULE


def main(
    customers: Annotated[int, typer.Option(help="Number of active customers.")] = 3_300,
    history: Annotated[int, typer.Option(help="Number of days before the first scored day.")] = 550,
    calm: Annotated[int, typer.Option(help="Number of days with a verdict, without a change.")] = 365,
    shifted: Annotated[int, typer.Option(help="Number of scored days after the covariate shift.")] = 182,
    changed: Annotated[int, typer.Option(help="Number of scored days after the change of the concept.")] = 56,
) -> None:
    """Count false verdicts, measure detection times and the coverage of the estimates. The last line is JSON."""
    logging.disable(logging.WARNING)
    pace = history + calm
    known = round(customers * (MEAN_STAY_DAYS + pace) / MEAN_STAY_DAYS)
    world = World(customers=known, first_day=FIRST_DAY, seed=SEED, pace_days=pace, season=SEASON)
    start = FIRST_DAY + dt.timedelta(days=history)
    with tempfile.TemporaryDirectory(prefix="churnflow-performance-") as folder:
        business = Business(Path(folder) / "calm", world)
        project = business.project
        horizon = dt.timedelta(days=project.label.horizon_days)
        past = DayRange(FIRST_DAY, start - dt.timedelta(days=1))
        business.append(past, [day for day in past if project.is_snapshot_day(day)])
        report_time(f"simulated {past}")

        def scored_after(name: str, days: int, *injections: Injection) -> Scored:
            branch = business.fork(Path(folder) / name)
            scored = DayRange(start, start + dt.timedelta(days=days - 1))
            branch.append(DayRange(start, scored.last + horizon), scored, injections)
            report_time(f"simulated {name}")
            return score(branch, scored)

        shift = scored_after("shifted", shifted, Injection(kind="covariate_shift", from_day=start, strength=SHIFT))
        concept = scored_after("changed", changed, Injection(kind="changed_concept", from_day=start, strength=CONCEPT))
        quiet = scored_after("quiet", calm + project.monitoring.window_days - 1)
    found = verdicts(project, quiet)
    decayed = {str(day): model.reason for day, model in found.items() if model.verdict == "decayed"}
    under_shift = coverage(project, shift)
    higher = with_higher_base_rate(quiet, start)
    details: dict[str, Any] = {
        "customers": customers,
        "no_verdict_days": sum(model.verdict == "no verdict" for model in found.values()),
        "decayed": decayed,
        "estimate_coverage_calm": coverage(project, quiet),
        "shifted_days_decayed": sum(model.verdict == "decayed" for model in verdicts(project, shift).values()),
        "seconds": round(time.perf_counter() - STARTED),
    }
    figures = {
        "calm_days": len(found),
        "decayed_days": len(decayed),
        "decayed_days_old_rule": sum(is_decayed_by_point(model) for model in found.values()),
        "decayed_share": round(len(decayed) / len(found), 4),
        "estimate_coverage_auc": under_shift["auc"],
        "estimate_coverage_precision": under_shift["precision"],
        "estimate_coverage_recall": under_shift["recall"],
        "estimate_coverage_saving": under_shift["saving_usd_per_1000"],
        "covariate_days": shifted,
        "concept_found_days": days_to_decay(verdicts(project, concept), start),
        "base_rate_found_days": days_to_decay(verdicts(project, higher), start),
    }
    print_figures("performance", figures, details)


if __name__ == "__main__":
    typer.run(main)
