"""Train a challenger: check, tune, fit, judge, log to MLflow, register."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mlflow

from include.errors import ChurnflowError
from include.logs import get_logger
from include.projects import Project
from include.settings import Settings
from include.training.candidate import make_candidate
from include.training.dataset import DatasetRef, load_dataset
from include.training.fit import probe_device
from include.training.registry import Registry
from include.training.requirements import check_model, require_data, require_model
from include.training.tracking import log_run, open_experiment, register

log = get_logger(__name__)


class ProjectMismatchError(ChurnflowError):
    """A data set was not made for the project as it is configured now."""


@dataclass(frozen=True)
class TrainingResult:
    """What a training made.

    Attributes:
        model_name: The registered model.
        model_version: The challenger's version.
        run_id: The MLflow run.
        trained_through: The last snapshot day learned from.
        device: Where the model was candidate.
        trials: Trials of the tuner.
        resumed_trials: How many of them an earlier, interrupted run had finished.
        parameters: The hyperparameters chosen.
        metrics: Figures on the test.
        verdicts: Requirements against figures.
        seconds: Wall time of the tuning (``tune``), the final fit (``fit``) and everything (``total``).
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
    seconds: dict[str, float]
    dataset: str

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types, fit for XCom."""
        return asdict(self)


def train_challenger(project: Project, settings: Settings, dataset_folder: Path) -> TrainingResult:
    """Train on the data set in ``dataset_folder`` and register the model with the alias ``challenger``.

    Raises:
        DatasetError: The data set is damaged.
        ProjectMismatchError: It was made for another project or other features.
        RequirementsError: The data, or with ``metrics_mode`` ``enabled`` the model, misses a requirement. A refused
            model's run is kept in MLflow; nothing is registered.
        DeviceError: The device asked for was not used.
    """
    started = time.perf_counter()
    dataset = load_dataset(dataset_folder)
    _require_match(project, dataset)
    require_data(project, dataset.manifest)
    probe_device(settings.training.device)
    # Before the work starts, so that an unreachable server costs no training.
    open_experiment(settings, f"churn-{project.name}")

    with mlflow.start_run(run_name=f"{project.name} {dataset.manifest.through}") as run:
        candidate = make_candidate(project, settings, dataset)
        seconds = candidate.seconds | {"total": round(time.perf_counter() - started, 2)}
        metrics = candidate.evaluation.metrics()
        verdicts = check_model(project, metrics, seconds["total"])
        source = log_run(candidate, verdicts)
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
        seconds=candidate.seconds | {"total": round(time.perf_counter() - started, 2)},
        dataset=str(dataset_folder),
    )
    log.info("challenger registered", extra={"version": version, "auc": metrics["auc"], "seconds": result.seconds})
    return result


def _require_match(project: Project, dataset: DatasetRef) -> None:
    manifest = dataset.manifest
    wanted = (project.name, tuple(spec.name for spec in project.features), project.label.horizon_days)
    if wanted != (manifest.project, manifest.features, manifest.horizon_days):
        raise ProjectMismatchError(
            f"The data set was made for project {manifest.project!r} with {len(manifest.features)} features and a "
            f"horizon of {manifest.horizon_days} days, which is not how {project.name!r} is configured now.",
            where=str(dataset.folder),
            remedy="Build the data set again, or set CHURN_PROJECT to its project.",
        )
