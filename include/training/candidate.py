"""Make a candidate model: tune, fit on all training rows, calibrate, evaluate on the test set, check for leakage."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from include.projects import Project
from include.settings import Settings
from include.training.data.dataset import DatasetRef
from include.training.data.rows import Rows, evenly_spaced, load_rows, model_contract, row_splits
from include.training.evaluation.evaluate import Evaluation, evaluate, require_both_labels
from include.training.evaluation.leakage import LeakageReport, check_leakage
from include.training.fitting.booster import fit, part_fitter
from include.training.fitting.calibration import Calibration, calibrate
from include.training.model.bundle import Bundle, Sample
from include.training.model.contract import ModelContract
from include.training.tuning.tune import TuningResult, make_search, open_study, tune

_SAMPLES = 20


@dataclass(frozen=True)
class Candidate:
    """A fitted and evaluated model that is not registered yet.

    Attributes:
        project: The project.
        dataset: The data set it was trained and evaluated on.
        device: The device that fitted it, as XGBoost names it.
        contract: Its contract; the run id is empty.
        booster: The XGBoost model.
        calibration: The calibrator, which turns the booster's log-odds into probabilities, and how it was chosen.
        tuned: The hyperparameter search.
        evaluation: Its metrics on the test set.
        test: The n test rows.
        probabilities: Its churn probabilities for the test rows, shape (n,).
        leakage: The result of the leakage checks.
        seconds: Wall time of the tuning (``tune``), by all workers, and of the final fit (``fit``).
    """

    project: Project
    dataset: DatasetRef
    device: str
    contract: ModelContract
    booster: xgb.Booster
    calibration: Calibration
    tuned: TuningResult
    evaluation: Evaluation
    test: Rows
    probabilities: NDArray[np.float32]
    leakage: LeakageReport
    seconds: dict[str, float]

    def bundle(self, run_id: str) -> Bundle:
        """Return the model's bundle. Its samples are evenly spaced test rows, without the customer ids."""
        chosen = evenly_spaced(len(self.test), _SAMPLES)
        rows = self.test.features.take(chosen).to_pylist()
        samples = tuple(
            Sample(features=row, churn_probability=float(self.probabilities[index]))
            for row, index in zip(rows, chosen, strict=True)
        )
        contract = self.contract.model_copy(update={"run_id": run_id})
        return Bundle(contract, self.booster, samples, self.calibration.calibrator)


def make_candidate(project: Project, settings: Settings, dataset: DatasetRef) -> Candidate:
    """Tune, fit, calibrate and evaluate a model.

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
    training, manifest = project.training, dataset.manifest
    device = settings.training.device
    contract = model_contract(project, manifest)
    train, test = (load_rows(dataset, part, contract) for part in (manifest.train, manifest.test))
    require_both_labels(test)  # before the search, which may take hours

    started = time.perf_counter()
    search = make_search(project, manifest, train, device)
    tuned = tune(search, open_study(search, dataset.folder, settings), settings.training.workers)
    tuning_ended = time.perf_counter()
    fitted = fit(
        train.matrix,
        train.churned,
        contract.feature_names,
        tuned.chosen,
        seed=training.seed,
        max_bin=training.max_bin,
        device=device,
    )
    fit_ended = time.perf_counter()
    fit_parts = part_fitter(
        train, contract.feature_names, tuned.chosen, training, device=device, workers=settings.training.workers
    )
    calibration = calibrate(train, row_splits(train, manifest, training), training, fit_parts)
    bundle = Bundle(contract, fitted.booster, calibrator=calibration.calibrator)
    probabilities = bundle.predict_matrix(test.matrix)
    leakage = check_leakage(train, test, bundle, probabilities, training, manifest.horizon_days, fit_parts)
    return Candidate(
        project=project,
        dataset=dataset,
        device=fitted.device,
        contract=contract,
        booster=fitted.booster,
        calibration=calibration,
        tuned=tuned,
        evaluation=evaluate(project, train, test, probabilities, contract.threshold),
        test=test,
        probabilities=probabilities,
        leakage=leakage,
        seconds={
            "tune": round(tuned.earlier_seconds + tuning_ended - started, 2),
            "fit": round(fit_ended - tuning_ended, 2),
        },
    )
