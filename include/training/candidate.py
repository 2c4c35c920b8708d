"""From a data set to a candidate: tune, fit on all training rows, calibrate, judge on the test, look for leaks."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from include.projects import Project
from include.settings import Settings
from include.training.data.dataset import DatasetRef
from include.training.data.row_splits import row_splits
from include.training.data.rows import Rows, load_rows, model_contract
from include.training.data.sampling import spread_evenly
from include.training.evaluation.evaluation import Evaluation, evaluate, require_both_labels
from include.training.evaluation.leakage import LeakageReport, check_leakage
from include.training.model.bundle import Bundle, Sample
from include.training.model.calibration import Calibrator
from include.training.model.contract import ModelContract
from include.training.model.fit import fit
from include.training.out_of_fold import calibrate
from include.training.refit import refitter
from include.training.tuning.tune import JOURNAL_FILE, make_search, tune
from include.training.tuning.tuned import Tuned

_SAMPLES = 20


@dataclass(frozen=True)
class Candidate:
    """A fitted model before the registry has given it a version.

    Attributes:
        project: The business.
        dataset: What it was trained and judged on.
        device: Where it was really trained, as XGBoost names it.
        contract: Its contract, without the run.
        booster: The model.
        calibrator: What makes its log-odds into probabilities.
        tuned: How its hyperparameters were found.
        evaluation: Its figures on the test.
        test: The test rows.
        probabilities: Its answers for them, shape (n,).
        leakage: Whether it is good for a reason that production will not have.
        seconds: Wall time of the tuning (``tune``), by whichever workers, and of the final fit (``fit``).
    """

    project: Project
    dataset: DatasetRef
    device: str
    contract: ModelContract
    booster: xgb.Booster
    calibrator: Calibrator
    tuned: Tuned
    evaluation: Evaluation
    test: Rows
    probabilities: NDArray[np.float32]
    leakage: LeakageReport
    seconds: dict[str, float]

    def bundle(self, run_id: str) -> Bundle:
        """Return the model's bundle, with samples spread evenly over the test, without who they are."""
        chosen = spread_evenly(len(self.test), _SAMPLES)
        rows = self.test.features.take(chosen).to_pylist()
        samples = tuple(
            Sample(features=row, churn_probability=float(self.probabilities[index]))
            for row, index in zip(rows, chosen, strict=True)
        )
        contract = self.contract.model_copy(update={"run_id": run_id})
        return Bundle(contract, self.booster, samples, self.calibrator)


def make_candidate(project: Project, settings: Settings, dataset: DatasetRef) -> Candidate:
    """Tune, fit, calibrate and judge a model on ``dataset``.

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
    require_both_labels(test)  # the search may take hours

    started = time.perf_counter()
    tuned = tune(
        make_search(project, manifest, train, device),
        dataset.folder / JOURNAL_FILE,
        settings.training.tuning_storage,
        settings.training.workers,
    )
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
    refit = refitter(
        train, contract.feature_names, tuned.chosen, training, device=device, workers=settings.training.workers
    )
    calibrator = calibrate(train, row_splits(train, manifest, training), training, refit)
    bundle = Bundle(contract, fitted.booster, calibrator=calibrator)
    probabilities = bundle.predict_matrix(test.matrix)
    leakage = check_leakage(train, test, bundle, probabilities, training, manifest.horizon_days, refit)
    return Candidate(
        project=project,
        dataset=dataset,
        device=fitted.device,
        contract=contract,
        booster=fitted.booster,
        calibrator=calibrator,
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
