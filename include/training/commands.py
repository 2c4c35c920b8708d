"""The command lines and the environment of tuning and training, and the result file that a training writes.

A process on this machine and a Kubernetes pod run the same commands. The module imports little, since the scheduler
imports it whenever it parses the DAGs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from include.errors import ChurnflowError
from include.local_files import write_atomically
from include.settings import Settings

SCRATCH = "/tmp"  # noqa: S108 - the mount path of the pod's scratch volume
"""The only writable folder of a pod except for the data sets."""


class MissingResultError(ChurnflowError):
    """A training ended without writing its result."""


def training_root(settings: Settings) -> Path:
    """Return this machine's folder of all data sets. It is on the volume that training pods mount."""
    return settings.home / "training"


def dataset_path(settings: Settings, name: str) -> str:
    """Return the path of a data set for the training command.

    A process uses this machine's training folder; a pod uses the mount path of the volume.

    Args:
        settings: The backend, the home folder and the pod's mount path.
        name: The data set's name, ``project/day``, or a template of it.
    """
    kubernetes = settings.training.backend == "kubernetes"
    return f"{settings.training.pod.data_path if kubernetes else training_root(settings)}/{name}"


def training_command(dataset: str, result: str, python: str = "python") -> list[str]:
    """Return the command that trains on a data set.

    Args:
        dataset: The data set's folder, on this machine or in the pod.
        result: The file that the command writes its result to.
        python: The interpreter.

    Example:
        >>> training_command("/data/grocery/2017-12-31", "/data/grocery/2017-12-31/result.json")[:4]
        ['python', '-m', 'include.training', 'run']
    """
    return [python, "-m", "include.training", "run", "--dataset", dataset, "--result", result]


def tuning_command(dataset: str, worker: int, python: str = "python") -> list[str]:
    """Return the command of one tuning worker.

    Args:
        dataset: The data set's folder, on this machine or in the pod.
        worker: The worker's number, from 0.
        python: The interpreter.

    Example:
        >>> tuning_command("/data/grocery/2017-12-31", 1)[-2:]
        ['--worker', '1']
    """
    return [python, "-m", "include.training", "tune", "--dataset", dataset, "--worker", str(worker)]


def training_environment(settings: Settings) -> dict[str, str]:
    """Return the environment variables of the commands, without secrets.

    They turn off MLflow's telemetry and its progress bars, and let waiting OpenMP threads sleep instead of spin.
    """
    return {
        "CHURN_PROJECT": settings.project,
        "CHURN_MLFLOW__TRACKING_URI": settings.mlflow.tracking_uri,
        "CHURN_MLFLOW__TIMEOUT_SECONDS": str(settings.mlflow.timeout_seconds),
        "CHURN_MLFLOW__RETRIES": str(settings.mlflow.retries),
        "CHURN_TRAINING__DEVICE": settings.training.device,
        "CHURN_TRAINING__WORKERS": str(settings.training.workers),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "OMP_WAIT_POLICY": "passive",
    }


def pod_environment(settings: Settings) -> dict[str, str]:
    """Return a pod's environment variables, without secrets.

    A pod's root file system is read-only. ``HOME`` is on the scratch volume, for libraries that write below the home
    folder, such as Matplotlib with its font cache.
    """
    return training_environment(settings) | {"CHURN_HOME": settings.training.pod.data_path, "HOME": SCRATCH}


def clear_result(path: Path) -> None:
    """Remove the result of an earlier training, so that a missing file shows that this training failed."""
    path.unlink(missing_ok=True)


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write the result of a training atomically.

    Args:
        path: The file, on storage that the training and Airflow share.
        result: The result as plain JSON types.
    """
    write_atomically(path, json.dumps(result) + "\n")


def read_result(path: Path) -> dict[str, Any]:
    """Return the result at ``path``.

    Raises:
        MissingResultError: The file is missing or is not JSON.
    """
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError) as error:
        raise MissingResultError(
            "The training ended without a result.",
            where=str(path),
            remedy="Read the log of the training task, then run it again.",
        ) from error
    return result
