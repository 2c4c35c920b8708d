"""The commands that tune and train, and their environment: the same for a process here and for a Kubernetes pod.

It imports little, because the scheduler reads it whenever it parses the DAGs.
"""

from __future__ import annotations

from pathlib import Path

from include.settings import Settings

SCRATCH = "/tmp"  # noqa: S108 - the mount of the pod's own scratch volume
"""The only folder beside the data sets that a pod writes to."""


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

    Examples:
        >>> training_command("/data/grocery/2017-12-31", "/data/grocery/2017-12-31/result.json")[:4]
        ['python', '-m', 'include.training', 'run']
    """
    return [python, "-m", "include.training", "run", "--dataset", dataset, "--result", result]


def tuning_command(dataset: str, worker: int, python: str = "python") -> list[str]:
    """Return the command of one tuning worker.

    Args:
        dataset: The data set's folder, as the worker sees it.
        worker: The worker's number, from 0.
        python: The interpreter.

    Examples:
        >>> tuning_command("/data/grocery/2017-12-31", 1)[-2:]
        ['--worker', '1']
    """
    return [python, "-m", "include.training", "tune", "--dataset", dataset, "--worker", str(worker)]


def training_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that the command reads, without secrets.

    MLflow is kept from calling home and from drawing progress bars into logs; threads that wait sleep, not spin.
    """
    return {
        "CHURN_PROJECT": settings.project,
        "CHURN_MLFLOW__TRACKING_URI": settings.mlflow.tracking_uri,
        "CHURN_TRAINING__DEVICE": settings.training.device,
        "CHURN_TRAINING__WORKERS": str(settings.training.workers),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "OMP_WAIT_POLICY": "passive",
    }


def pod_environment(settings: Settings) -> dict[str, str]:
    """Return a pod's variables, without secrets.

    A pod's root file system is read-only. Libraries that keep something below the home folder, such as Matplotlib's
    list of fonts, find a place on the scratch volume.
    """
    return training_environment(settings) | {"CHURN_HOME": settings.training.pod.data_path, "HOME": SCRATCH}
