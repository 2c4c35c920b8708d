"""Make a candidate model: tune, choose the recipe on a test, check for leakage, refit on all matured snapshots."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from include.projects import Project
from include.settings import Settings
from include.training.data.dataset import DatasetRef
from include.training.data.rows import Rows, concatenate, evenly_spaced, load_rows, model_contract
from include.training.evaluation.estimate import estimate_errors
from include.training.evaluation.evaluate import Evaluation, evaluate, require_both_labels
from include.training.evaluation.leakage import LeakageReport, check_leakage
from include.training.evaluation.reference import make_profile
from include.training.fitting.fitted_model import FittedModel
from include.training.fitting.recipe_fitter import RecipeFitter
from include.training.model.bundle import Bundle, Sample
from include.training.model.contract import MetricValue, ModelContract, RecipeEvaluation
from include.training.model.reference_profile import ReferenceProfile
from include.training.recipe import Recipe
from include.training.recipe_choice import NO_RANKING, Comparison, choose_recipe
from include.training.tuning.tune import TuningResult, make_search, open_study, tune

_SAMPLES = 20
TEST_METRICS = {
    "auc": "auc",
    "average_precision": "pr_auc",
    "brier": "brier",
    "observed_over_expected": "observed_over_expected",
    "observed_churn": "positive_ratio",
    "accuracy": "accuracy_at_threshold",
    "precision": "precision_at_threshold",
    "recall": "recall_at_threshold",
    "saving_usd_per_1000": "saving_usd_per_1000_at_threshold",
}
"""The metrics in the contract, and their names in the evaluation."""


@dataclass(frozen=True)
class Candidate:
    """A fitted and evaluated model that is not registered yet.

    Attributes:
        project: The project.
        dataset: The data set.
        contract: The model's contract; the run id is empty.
        recipe: Its recipe.
        model: The model, fitted on all rows of the data set.
        evaluated: A model of the same recipe, fitted on the training rows only.
        tuned: The hyperparameter search.
        comparison: The comparison of the recipe with the champion.
        evaluation: The metrics of ``evaluated`` on the test set.
        test: The n test rows, with the features of the recipe.
        probabilities: The churn probabilities of ``evaluated`` for the test rows, shape (n,).
        samples: Rows of the newest day with the probabilities of ``model``.
        profile: The reference profile for drift detection.
        leakage: The result of the leakage checks.
        seconds: Wall time of the tuning (``tune``), by all workers, and of the final fit (``fit``).
    """

    project: Project
    dataset: DatasetRef
    contract: ModelContract
    recipe: Recipe
    model: FittedModel
    evaluated: FittedModel
    tuned: TuningResult
    comparison: Comparison
    evaluation: Evaluation
    test: Rows
    probabilities: NDArray[np.float32]
    samples: tuple[Sample, ...]
    profile: ReferenceProfile
    leakage: LeakageReport
    seconds: dict[str, float]

    @property
    def evaluated_through(self) -> dt.date:
        """The last snapshot day that ``evaluated`` was fitted on."""
        return self.dataset.manifest.train.days[-1]

    def bundle(self, run_id: str) -> Bundle:
        """Return the model's bundle."""
        contract = self.contract.model_copy(update={"run_id": run_id})
        profile = self.profile.model_dump_json().encode()
        return replace(self.model.bundle(contract), samples=self.samples, profile=profile)


def make_candidate(project: Project, settings: Settings, dataset: DatasetRef) -> Candidate:
    """Tune, choose and evaluate a recipe on rows that the evaluated model was not fitted on, and refit it on all rows.

    The finished trials are stored in the data set's folder or in the configured database. A run that was interrupted
    continues from them.

    Args:
        project: The project, as recorded with the data set.
        settings: Device, workers and storage of the trials.
        dataset: The data set.

    Raises:
        DeviceError: XGBoost trained on another device than the configured one.
        FoldError: A fold cannot be scored.
        EvaluationError: The test rows have one label only.
    """
    manifest, training = dataset.manifest, settings.training
    full = model_contract(project, manifest)
    parts = {name: load_rows(dataset, part, full) for name, part in manifest.parts.items()}
    require_both_labels(parts["test"])  # before the search, which may take hours

    started = time.perf_counter()
    search = make_search(project, manifest, parts["train"], training.device)
    tuned = tune(search, open_study(search, dataset.folder, settings), training.workers)
    tuning_ended = time.perf_counter()

    fitter = RecipeFitter(project, dataset, full, training.device, training.workers)
    recipe = Recipe(features=tuple(full.feature_names), hyperparameters=tuned.chosen)
    rows = concatenate(list(parts.values()))
    choice = choose_recipe(fitter, parts["train"], parts["test"], rows, recipe)
    train, test = (parts[name].with_features(choice.recipe.features) for name in ("train", "test"))
    evaluation = evaluate(project, train, test, choice.probabilities, full.threshold)
    contract = fitter.contract_of(choice.recipe)
    leakage = check_leakage(
        train,
        test,
        choice.evaluated.bundle(contract),
        project.training,
        manifest.horizon_days,
        fitter.fit_parts(train, choice.recipe, half_life_days=None),
    )

    fit_started = time.perf_counter()
    model = fitter.fit(rows, choice.recipe)
    fit_ended = time.perf_counter()
    comparison = choice.comparison
    if not (model.calibration.calibrator.ranks and choice.evaluated.calibration.calibrator.ranks):
        comparison = replace(comparison, promote=False, reason=NO_RANKING)
    tested = _recipe_evaluation(project, dataset, test, choice.probabilities, evaluation)
    contract = contract.model_copy(update={"half_life_days": model.history.half_life_days, "evaluation": tested})
    fitted_rows, bundle = rows.with_features(choice.recipe.features), model.bundle(contract)
    return Candidate(
        project=project,
        dataset=dataset,
        contract=contract,
        recipe=choice.recipe,
        model=model,
        evaluated=choice.evaluated,
        tuned=tuned,
        comparison=comparison,
        evaluation=evaluation,
        test=test,
        probabilities=choice.probabilities,
        samples=_samples(bundle, fitted_rows),
        profile=make_profile(project, fitted_rows, bundle, model.calibration.out_of_fold),
        leakage=leakage,
        seconds={
            "tune": round(tuned.earlier_seconds + tuning_ended - started, 2),
            "fit": round(fit_ended - fit_started, 2),
        },
    )


def _recipe_evaluation(
    project: Project, dataset: DatasetRef, test: Rows, probabilities: NDArray[np.float32], evaluation: Evaluation
) -> RecipeEvaluation:
    manifest, found = dataset.manifest, evaluation.metrics()
    return RecipeEvaluation(
        trained_through=manifest.train.days[-1],
        first_day=manifest.test.days[0],
        last_day=manifest.test.days[-1],
        metrics={
            name: MetricValue(found[key], found[f"{key}_low"], found[f"{key}_high"])
            for name, key in TEST_METRICS.items()
        },
        estimate_errors=estimate_errors(project, test, probabilities, evaluation.threshold),
    )


def _samples(bundle: Bundle, rows: Rows) -> tuple[Sample, ...]:
    """Return the model's predictions for evenly spaced rows of the newest day, without the customer ids."""
    newest = rows.where(rows.days == rows.days.max())
    chosen = evenly_spaced(len(newest), _SAMPLES)
    features, probabilities = newest.features.take(chosen), bundle.predict_matrix(newest.matrix[chosen])
    return tuple(
        Sample(features=row, churn_probability=float(probability))
        for row, probability in zip(features.to_pylist(), probabilities, strict=True)
    )
