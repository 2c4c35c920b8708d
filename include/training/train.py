"""Train a challenger: check the data, make a candidate, check it, log it to MLflow, register it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlflow

from include.logs import get_logger
from include.settings import Settings
from include.training.candidate import Candidate, make_candidate
from include.training.data.dataset import load_dataset, recorded_project
from include.training.evaluation.requirements import check_model, require_data, require_model, write_verdicts
from include.training.fitting.booster import probe_device
from include.training.release.tracking import log_run, open_experiment, register

log = get_logger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training.

    Attributes:
        model_name: The registered model.
        model_version: The challenger's version.
        run_id: The MLflow run.
        trained_through: The last snapshot day that the registered model was fitted on.
        evaluated_through: The last snapshot day that the evaluated model of the same recipe was fitted on.
        device: The device that fitted the model.
        trials: Number of trials.
        resumed_trials: Number of trials that tuning workers or an interrupted run had finished before.
        parameters: The hyperparameters of the chosen recipe.
        metrics: The metrics on the test set.
        verdicts: The requirements of data and model, with required and found values.
        leakage: The leakage findings, as text; a model with findings is never promoted.
        history: The weights of the rows by age, as text.
        calibration: The calibrator, as text.
        calibration_warning: The reason why the probabilities are not reliable; empty if they are.
        seconds: Wall time of the tuning (``tune``), the final fit (``fit``) and the whole training (``total``). It
            includes trials that workers had finished before; parallel trials count once, pauses do not count.
        dataset: The data set's folder.
    """

    model_name: str
    model_version: str
    run_id: str
    trained_through: str
    evaluated_through: str
    device: str
    trials: int
    resumed_trials: int
    parameters: dict[str, float]
    metrics: dict[str, float]
    verdicts: list[dict[str, Any]]
    leakage: list[str]
    history: str
    calibration: str
    calibration_warning: str
    seconds: dict[str, float]
    dataset: str

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types, for XCom."""
        return asdict(self)


def train_challenger(settings: Settings, dataset_folder: Path) -> TrainingResult:
    """Train on a data set and register the model with the alias ``challenger``.

    Args:
        settings: The project, the tracking server, the device and the workers.
        dataset_folder: The data set's folder.

    Raises:
        DatasetError: The data set is damaged.
        ProjectMismatchError: The data set belongs to another project.
        ConfigurationError: The recorded configuration cannot be read, or was changed.
        RequirementsError: The data or the model misses a requirement whose mode is ``enabled``. The verdicts are
            written to the data set's folder, and the run of a rejected model is in MLflow; no version is registered.
        DeviceError: XGBoost trained on another device than the configured one.
    """
    started = time.perf_counter()
    dataset = load_dataset(dataset_folder)
    project = recorded_project(dataset, settings)
    data_verdicts = require_data(project, dataset)
    probe_device(settings.training.device)
    # Before the work starts, so that an unreachable server is detected first.
    open_experiment(settings, f"churn-{project.name}")

    with mlflow.start_run(run_name=f"{project.name} {dataset.manifest.through}") as run:
        candidate = make_candidate(project, settings, dataset)
        seconds = _seconds(candidate, started)
        metrics = candidate.evaluation.metrics()
        verdicts = [*data_verdicts, *check_model(project, metrics, seconds["total"])]
        write_verdicts(dataset.folder, verdicts)
        source = log_run(candidate, verdicts, run.info.run_id)
        require_model(project, verdicts)
        version = register(candidate, verdicts, settings, source, run.info.run_id)
    result = TrainingResult(
        model_name=f"churn-{project.name}",
        model_version=version,
        run_id=run.info.run_id,
        trained_through=str(candidate.contract.trained_through),
        evaluated_through=str(candidate.evaluated_through),
        device=candidate.model.device,
        trials=candidate.tuned.trials,
        resumed_trials=candidate.tuned.resumed,
        parameters=candidate.recipe.hyperparameters.model_dump(),
        metrics={name: round(value, 6) for name, value in metrics.items()},
        verdicts=[verdict.as_dict() for verdict in verdicts],
        leakage=list(candidate.leakage.findings),
        history=candidate.model.history.name,
        calibration=candidate.model.calibration.chosen.name,
        calibration_warning=candidate.model.calibration.warning,
        seconds=_seconds(candidate, started),
        dataset=str(dataset_folder),
    )
    log.info("challenger registered", extra={"version": version, "auc": metrics["auc"], "seconds": result.seconds})
    return result


def _seconds(candidate: Candidate, started: float) -> dict[str, float]:
    total = candidate.tuned.earlier_seconds + time.perf_counter() - started
    return candidate.seconds | {"total": round(total, 2)}
