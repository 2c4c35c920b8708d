"""Model quality of both projects: ``python -m benchmarks.quality``, about 20 minutes.

The product's code runs from landing files to the evaluation on the test set. The subscription business is simulated, so
the true probabilities of the test rows are known. They give the best possible ranking; ``regret`` is the AUC of this
ranking minus the AUC of the model. For the grocery households, ``regret`` is unknown. A logistic regression and the
baselines are evaluated on the same rows.
"""

from __future__ import annotations

import datetime as dt
import json
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import typer
from numpy.typing import NDArray
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, precision_recall_curve, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.figures import print_figures, report
from include.days import DayRange
from include.ingest import ingest_days
from include.lake import open_lake
from include.logs import configure_json_logs
from include.projects import Project, load_project
from include.settings import Settings
from include.training.candidate import Candidate, make_candidate
from include.training.data.build import build_dataset
from include.training.data.dataset import DatasetRef, dataset_dir
from include.training.data.rows import Rows, load_rows
from include.training.evaluation.decisions import decide
from include.training.evaluation.requirements import check_data, check_model
from include.training.model.bundle import margins
from include.training.model.contract import reaches_threshold
from local.grocery_export import LAST_DAY, export
from simulator import World, generate, read_outcomes
from simulator.generate import LANDING, TRUTH

SEED = 20250101
FIRST = dt.date(2023, 1, 1)
GROCERY = DayRange(dt.date(2017, 1, 1), LAST_DAY)

HEADLINE = (
    "auc",
    "auc_bayes_optimal",
    "pr_auc",
    "brier",
    "ece",
    "saving_per_1000",
    "auc_logistic",
    "auc_recency",
)

Figures = dict[str, Any]


def subscription(folder: Path, customers: int, days: int, trials: int | None = None) -> Figures:
    """Return the metrics of a model of a simulated business.

    Args:
        folder: The home folder of the deployment.
        customers: Number of customers over the whole time.
        days: Number of days.
        trials: Number of tuning trials; the project's own number by default.
    """
    settings = Settings(home=folder, project="subscription")
    span = DayRange.ending(FIRST + dt.timedelta(days=days - 1), days)
    started = time.perf_counter()
    generate(folder, World(customers=customers, first_day=FIRST, seed=SEED, pace_days=days), span.last)
    simulated = round(time.perf_counter() - started, 1)
    figures = evaluate(settings, span, trials)
    figures["seconds"] = {"simulate": simulated, **figures["seconds"]}
    return {"customers": customers} | figures


def grocery(folder: Path, trials: int | None = None) -> Figures:
    """Return the metrics of a model of the grocery households over their year.

    Args:
        folder: The home folder of the deployment.
        trials: Number of tuning trials; the project's own number by default.
    """
    settings = Settings(home=folder, project="grocery")
    export(Path(settings.landing_uri) / settings.project, GROCERY)
    return evaluate(settings, GROCERY, trials)


def evaluate(settings: Settings, days: DayRange, trials: int | None) -> Figures:
    """Ingest the days, train on all labels known at their end, and return the metrics on the test set.

    Args:
        settings: The project, and the home folder with its landing files.
        days: The days to ingest.
        trials: Number of tuning trials; the project's own number if None.
    """
    project, clock = _with_trials(load_project(settings.project), trials), _Clock()
    dataset = ingest_history(project, settings, days)
    clock.lap("ingest")
    candidate = make_candidate(project, settings, dataset)
    clock.lap("train")
    figures = metrics_of(project, settings, candidate, clock.seconds["train"])
    clock.lap("evaluate")
    return figures | {"seconds": clock.seconds | candidate.seconds}


def ingest_history(project: Project, settings: Settings, days: DayRange) -> DatasetRef:
    """Ingest the days in one run, and build the data set of all labels known at their end.

    Args:
        project: The project; its definitions of features and label are those of ``settings.project``.
        settings: The home folder with the landing files.
        days: The days to ingest.
    """
    ingest_days(settings, days)
    return build_dataset(project, open_lake(settings), days.last, dataset_dir(settings, days.last))


def metrics_of(project: Project, settings: Settings, candidate: Candidate, train_seconds: float) -> Figures:
    """Return the metrics of a model, of a logistic regression and of the baselines on the test set.

    Args:
        project: The project.
        settings: The home folder; that of a simulated business contains the true probabilities.
        candidate: The model.
        train_seconds: The duration of the training, which the project's requirements limit.
    """
    dataset = candidate.dataset
    train = load_rows(dataset, dataset.manifest.train, candidate.contract)
    test, evaluation, metrics = candidate.test, candidate.evaluation, candidate.evaluation.metrics()
    logistic = logistic_probabilities(project, train, test)
    truth = true_probabilities(settings.home, test) if settings.project == "subscription" else None
    verdicts = [*check_data(project, dataset.manifest), *check_model(project, metrics, train_seconds)]
    return {
        "auc": metrics["auc"],
        "auc_low": evaluation.intervals["auc"].low,
        "auc_high": evaluation.intervals["auc"].high,
        **_optimum(project, test, truth, metrics["auc"]),
        "pr_auc": metrics["pr_auc"],
        "brier": metrics["brier"],
        "ece": metrics["ece"],
        "saving_per_1000": metrics["saving_usd_per_1000_at_threshold"],
        "saving_everybody": metrics["saving_usd_per_1000_everybody"],
        "saving_recency": metrics["saving_usd_per_1000_recency"],
        "auc_logistic": float(roc_auc_score(test.churned, logistic)),
        "auc_recency": metrics["auc_recency"],
        "f1": metrics["f1"],
        "precision": metrics["precision"],
        "recall": metrics["recall"],
        "accuracy": metrics["accuracy"],
        "f1_best": best_f1(test.churned, candidate.probabilities),
        "requirements_missed": [str(verdict) for verdict in verdicts if not verdict.ok],
        "train_rows": dataset.manifest.train.rows,
        "train_positive_ratio": dataset.manifest.train.positive_ratio,
        "test_rows": len(test),
        "test_customers": evaluation.customers,
        "features": len(dataset.manifest.features),
        "trials": candidate.tuned.trials,
        "calibrators": calibrators(candidate),
    }


def calibrators(candidate: Candidate) -> list[Figures]:
    """Return the figures of each calibrator that was compared: in the forward validation, and on the test set.

    Args:
        candidate: The model.
    """
    test, calibration = candidate.test, candidate.evaluated.calibration
    raw = margins(candidate.evaluated.booster, test.matrix)
    found = []
    for score in calibration.scores:
        probabilities = score.calibrator.probabilities(raw).astype(np.float64)
        found.append(
            {
                "name": score.name,
                "chosen": score == calibration.chosen,
                "forward_log_loss": score.log_loss,
                "forward_brier": score.brier,
                "test_log_loss": float(log_loss(test.churned, probabilities)),
                "test_brier": float(brier_score_loss(test.churned, probabilities)),
                "test_observed_over_expected": float(test.churned.sum() / probabilities.sum()),
            }
        )
    return found


def logistic_probabilities(project: Project, train: Rows, test: Rows) -> NDArray[np.float64]:
    """Return a logistic regression's churn probabilities, with imputed, scaled and one-hot encoded features.

    Args:
        project: The features.
        train: The training rows.
        test: The n test rows.

    Returns:
        Churn probabilities of the test rows, shape (n,).
    """
    kinds: dict[Literal["number", "category"], list[str]] = {
        kind: [spec.name for spec in project.features if spec.dtype == kind] for kind in ("number", "category")
    }
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    categories = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="unknown"), OneHotEncoder(handle_unknown="ignore")
    )
    columns = make_column_transformer((numbers, kinds["number"]), (categories, kinds["category"]))
    model = make_pipeline(columns, LogisticRegression(max_iter=1_000))
    model.fit(_frame(train, kinds), train.churned)
    probabilities: NDArray[np.float64] = model.predict_proba(_frame(test, kinds))[:, 1]
    return probabilities


def true_probabilities(home: Path, test: Rows) -> NDArray[np.float64]:
    """Return the true churn probability of each test row in the simulated world in ``home``, shape (n,).

    Raises:
        ValueError: The simulated world lacks a row, or has another label for it.
    """
    outcomes = read_outcomes(home / LANDING, home / TRUTH).to_pandas()
    outcomes["dt"], outcomes["customer_id"] = pd.to_datetime(outcomes["dt"]), outcomes["customer_id"].astype(str)
    rows = pd.DataFrame({"dt": pd.to_datetime(test.days), "customer_id": test.customers.to_pylist()})
    known = rows.merge(outcomes, how="left", on=["dt", "customer_id"], validate="one_to_one")
    if not (known["churned"] == test.churned.astype(bool)).all():
        raise ValueError("the labels of the test differ from the simulated world")
    return known["probability"].to_numpy()


def best_f1(churned: NDArray[np.int8], probabilities: NDArray[Any]) -> float:
    """Return the largest F1 of all thresholds on these labels, an upper bound for any choice of the threshold.

    Args:
        churned: The labels, shape (n,).
        probabilities: The churn probabilities, shape (n,).
    """
    precision, recall, _ = precision_recall_curve(churned, probabilities)
    both = precision + recall
    return float(np.max(2 * precision * recall / np.where(both > 0, both, 1)))


def _optimum(project: Project, test: Rows, truth: NDArray[np.float64] | None, auc: float) -> Figures:
    if truth is None:
        return dict.fromkeys(("auc_bayes_optimal", "regret", "saving_bayes_optimal", "f1_best_bayes_optimal"))
    costs = project.requirements.costs
    optimal = float(roc_auc_score(test.churned, truth))
    best = decide(test.churned, reaches_threshold(truth, costs.threshold), costs)
    return {
        "auc_bayes_optimal": optimal,
        "regret": optimal - auc,
        "saving_bayes_optimal": best.saving_usd_per_1000,
        "f1_best_bayes_optimal": best_f1(test.churned, truth),
    }


def headline(figures: Figures) -> Figures:
    """Return the main metrics of a project; the optimal AUC is null if the true probabilities are unknown."""
    return {name: figures[name] for name in HEADLINE}


def _with_trials(project: Project, trials: int | None) -> Project:
    if trials is None:
        return project
    return project.model_copy(update={"training": project.training.model_copy(update={"n_trials": trials})})


def _frame(rows: Rows, kinds: dict[Literal["number", "category"], list[str]]) -> pd.DataFrame:
    frame: pd.DataFrame = rows.features.to_pandas()
    known = {name: frame[name].astype(object) for name in kinds["category"]}
    texts = {name: column.mask(column.isna(), None) for name, column in known.items()}
    return frame.astype(dict.fromkeys(kinds["number"], float)).assign(**texts)


class _Clock:
    """Wall time by stage, in seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage], self._last = round(now - self._last, 1), now
        report(f"{stage}: {self.seconds[stage]} s")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 4) if isinstance(value, float) else value


def main(
    customers: Annotated[int, typer.Option(help="Subscription: customers over the whole time.")] = 20_000,
    days: Annotated[int, typer.Option(help="Subscription: days.")] = 730,
    trials: Annotated[int | None, typer.Option(help="Number of tuning trials; each project's own by default.")] = None,
    project: Annotated[str | None, typer.Option(help="subscription or grocery; both by default.")] = None,
) -> None:
    """Simulate, ingest, train and evaluate each project in a temporary folder; the last line is one JSON object."""
    configure_json_logs()
    started, figures = time.perf_counter(), {}
    for name in [project] if project else ["subscription", "grocery"]:
        with tempfile.TemporaryDirectory(prefix="churnflow-quality-") as folder:
            home = Path(folder)
            result = subscription(home, customers, days, trials) if name == "subscription" else grocery(home, trials)
        figures[name] = _rounded(result)
        report(json.dumps({name: figures[name]}))
    details = {"projects": figures, "seconds": round(time.perf_counter() - started)}
    print_figures("quality", {name: headline(found) for name, found in figures.items()}, details)


if __name__ == "__main__":
    typer.run(main)
