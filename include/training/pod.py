"""The training command and its environment: the same for a process on this machine and for a Kubernetes pod.

It imports little, because the scheduler reads it whenever it parses the DAGs.
"""

from __future__ import annotations

from pathlib import Path

from include.settings import Settings


def training_root(settings: Settings) -> Path:
    """Return this machine's folder of all data sets; it lies on the volume that a training pod mounts."""
    return settings.home / "training"


def dataset_as_seen(settings: Settings, name: str) -> str:
    """Return where the training finds the data set ``name`` (``project/day``, or a template of it).

    A process sees this machine's training folder, a pod the volume's mount.
    """
    kubernetes = settings.training.backend == "kubernetes"
    return f"{settings.training.pod.data_path if kubernetes else training_root(settings)}/{name}"


def training_command(dataset: str, result: str, python: str = "python") -> list[str]:
    """Return the command that trains on a data set.

    Args:
        dataset: The data set's folder, as the training sees it.
        result: The file that the command writes its result to.
        python: The interpreter.

    Example:
        >>> training_command("/data/grocery/2017-12-31", "/data/grocery/2017-12-31/result.json")[:4]
        ['python', '-m', 'include.training', 'run']
    """
    return [python, "-m", "include.training", "run", "--dataset", dataset, "--result", result]


def training_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that the command reads, without secrets.

    MLflow is kept from calling home and from drawing progress bars into logs; threads that wait sleep, not spin.
    """
    return {
        "CHURN_PROJECT": settings.project,
        "CHURN_MLFLOW__TRACKING_URI": settings.mlflow.tracking_uri,
        "CHURN_TRAINING__DEVICE": settings.training.device,
        "CHURN_TRAINING__THREADS": str(settings.training.threads),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "OMP_WAIT_POLICY": "passive",
    }
