"""Train a challenger: check, tune, fit, judge, log to MLflow, register."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlflow

from include.logs import get_logger
from include.settings import Settings
from include.training.candidate import Candidate, make_candidate
from include.training.data.configuration import recorded_project
from include.training.data.dataset import load_dataset
from include.training.model.fit import probe_device
from include.training.release.registry import Registry
from include.training.release.tracking import log_run, open_experiment, register
from include.training.requirements import check_model, keep_verdicts, require_data, require_model

log = get_logger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """What a training made.

    Attributes:
        model_name: The registered model.
        model_version: The challenger's version.
        run_id: The MLflow run.
        trained_through: The last snapshot day learned from.
        device: Where the model was trained.
        trials: Trials of the tuner.
        resumed_trials: How many of them an earlier, interrupted run had finished.
        parameters: The hyperparameters chosen.
        metrics: Figures on the test.
        verdicts: Requirements of the data and the model against what was found.
        leakage: What looks like a leak, in words; a model with any is never promoted.
        seconds: Wall time of the tuning (``tune``), the final fit (``fit``) and everything (``total``). Trials that
            workers had finished before count, with those side by side once; pauses and a worker's start do not.
        dataset: The data set's folder.
    """

    model_name: str
    model_version: str
    run_id: str
    trained_through: str
    device: str
    trials: int
    resumed_trials: int
    parameters: dict[str, float]
    metrics: dict[str, float]
    verdicts: list[dict[str, Any]]
    leakage: list[str]
    seconds: dict[str, float]
    dataset: str

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types, fit for XCom."""
        return asdict(self)


def train_challenger(settings: Settings, dataset_folder: Path) -> TrainingResult:
    """Train on the data set in ``dataset_folder`` and register the model with the alias ``challenger``.

    Raises:
        DatasetError: The data set is damaged.
        ProjectMismatchError: It is of another project than the settings name.
        ConfigurationError: The configuration beside it cannot be read, or is another.
        RequirementsError: The data or the model misses a requirement whose mode is ``enabled``. The verdicts are kept
            in the data set's folder, and a refused model's run in MLflow; nothing is registered.
        DeviceError: The device asked for was not used.
    """
    started = time.perf_counter()
    dataset = load_dataset(dataset_folder)
    project = recorded_project(dataset, settings)
    data_verdicts = require_data(project, dataset)
    probe_device(settings.training.device)
    # Before the work starts, so that an unreachable server costs no training.
    open_experiment(settings, f"churn-{project.name}")

    with mlflow.start_run(run_name=f"{project.name} {dataset.manifest.through}") as run:
        candidate = make_candidate(project, settings, dataset)
        seconds = _seconds(candidate, started)
        metrics = candidate.evaluation.metrics()
        verdicts = [*data_verdicts, *check_model(project, metrics, seconds["total"])]
        keep_verdicts(dataset.folder, verdicts)
        source = log_run(candidate, verdicts, run.info.run_id)
        require_model(project, verdicts)
        version = register(candidate, verdicts, Registry(settings), source, run.info.run_id)
    result = TrainingResult(
        model_name=f"churn-{project.name}",
        model_version=version,
        run_id=run.info.run_id,
        trained_through=str(candidate.contract.trained_through),
        device=candidate.device,
        trials=candidate.tuned.trials,
        resumed_trials=candidate.tuned.resumed,
        parameters=candidate.tuned.chosen.model_dump(),
        metrics={name: round(value, 6) for name, value in metrics.items()},
        verdicts=[verdict.as_dict() for verdict in verdicts],
        leakage=list(candidate.leakage.findings),
        seconds=_seconds(candidate, started),
        dataset=str(dataset_folder),
    )
    log.info("challenger registered", extra={"version": version, "auc": metrics["auc"], "seconds": result.seconds})
    return result


def _seconds(candidate: Candidate, started: float) -> dict[str, float]:
    total = candidate.tuned.earlier_seconds + time.perf_counter() - started
    return candidate.seconds | {"total": round(total, 2)}
