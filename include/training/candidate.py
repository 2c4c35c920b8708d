"""From a data set to a candidate: tune, fit on all training rows, judge on the test."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from include.projects import Project
from include.settings import Settings
from include.training.bundle import Bundle, ModelContract, Sample
from include.training.dataset import DatasetRef
from include.training.evaluation import Evaluation, evaluate
from include.training.fit import Device, fit
from include.training.folds import bin_folds
from include.training.row_splits import row_splits
from include.training.rows import Rows, load_rows, model_contract
from include.training.tuning import Tuned, tune

JOURNAL_FILE = "tuning.journal"
_SAMPLES = 20


@dataclass(frozen=True)
class Candidate:
    """A fitted model before the registry has given it a version.

    Attributes:
        project: The business.
        dataset: What it was trained and judged on.
        device: Where it was trained.
        contract: Its contract, without run and version.
        booster: The model.
        tuned: How its hyperparameters were found.
        evaluation: Its figures on the test.
        test: The test rows.
        probabilities: Its answers for them, shape (n,).
        seconds: Wall time of the tuning (``tune``) and the final fit (``fit``).
    """

    project: Project
    dataset: DatasetRef
    device: Device
    contract: ModelContract
    booster: xgb.Booster
    tuned: Tuned
    evaluation: Evaluation
    test: Rows
    probabilities: NDArray[np.float32]
    seconds: dict[str, float]

    def bundle(self, run_id: str, model_version: str) -> Bundle:
        """Return the model's bundle, with samples spread evenly over the test, without who they are."""
        chosen = np.unique(np.linspace(0, len(self.test) - 1, _SAMPLES).astype(int))
        rows = self.test.features.take(chosen).to_pylist()
        samples = tuple(
            Sample(features=row, churn_probability=float(self.probabilities[index]))
            for row, index in zip(rows, chosen, strict=True)
        )
        contract = self.contract.model_copy(update={"run_id": run_id, "model_version": model_version})
        return Bundle(contract, self.booster, samples)


def make_candidate(project: Project, settings: Settings, dataset: DatasetRef) -> Candidate:
    """Tune, fit and judge a model on ``dataset``.

    Trials are kept in the data set's folder, so that a run that was cut off goes on with them.

    Raises:
        DeviceError: The device asked for was not used.
        FoldError: A fold cannot be scored.
        EvaluationError: The test rows cannot judge a model.
    """
    training, manifest = project.training, dataset.manifest
    device = settings.training.device
    contract = model_contract(project, manifest)
    train, test = (load_rows(dataset, part, contract) for part in (manifest.train, manifest.test))

    started = time.perf_counter()
    folds = bin_folds(train, row_splits(train, manifest, training), training.max_bin)
    tuned = tune(
        folds,
        training,
        fingerprint=manifest.fingerprint,
        journal=dataset.folder / JOURNAL_FILE,
        device=device,
        threads=settings.training.threads,
    )
    tuning_ended = time.perf_counter()
    booster = fit(
        train.matrix,
        train.churned,
        contract.feature_names,
        tuned.chosen,
        seed=training.seed,
        max_bin=training.max_bin,
        device=device,
    )
    fit_ended = time.perf_counter()
    probabilities = Bundle(contract, booster).predict_matrix(test.matrix)
    return Candidate(
        project=project,
        dataset=dataset,
        device=device,
        contract=contract,
        booster=booster,
        tuned=tuned,
        evaluation=evaluate(project, train, test, probabilities, contract.threshold),
        test=test,
        probabilities=probabilities,
        seconds={"tune": round(tuning_ended - started, 2), "fit": round(fit_ended - tuning_ended, 2)},
    )
