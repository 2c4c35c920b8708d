"""The training command and its environment: the same for a process on this machine and for a Kubernetes pod."""

from __future__ import annotations

from pathlib import PurePath, PurePosixPath

from include.errors import ChurnflowError
from include.settings import Settings
from include.training.dataset import training_root


class PodPathError(ChurnflowError):
    """A path that a pod cannot see."""


def training_command(dataset: PurePath, result: PurePath, python: str = "python") -> list[str]:
    """Return the command that trains on a data set.

    Args:
        dataset: The data set's folder, as the process or the pod sees it.
        result: The file that the command writes its result to.
        python: The interpreter.

    Example:
        >>> training_command(PurePosixPath("/data/a"), PurePosixPath("/data/a/result.json"))[:4]
        ['python', '-m', 'include.training', 'run']
    """
    return [python, "-m", "include.training", "run", "--dataset", str(dataset), "--result", str(result)]


def pod_command(settings: Settings, dataset: PurePath, result: PurePath) -> list[str]:
    """Return the same command with this machine's paths as the pod sees them on the training volume.

    Raises:
        PodPathError: A path is outside of the training folder, which is what the volume holds.
    """
    return training_command(path_in_pod(settings, dataset), path_in_pod(settings, result))


def path_in_pod(settings: Settings, path: PurePath) -> PurePosixPath:
    """Return where the pod sees ``path`` of this machine's training folder.

    Raises:
        PodPathError: The path is outside of that folder.
    """
    root = training_root(settings)
    if not path.is_relative_to(root):
        raise PodPathError(
            "A training pod cannot see this path.",
            where=str(path),
            remedy=f"Put it below {root}, the folder on the training volume.",
        )
    return PurePosixPath(settings.training.pod.data_path) / path.relative_to(root).as_posix()


def training_environment(settings: Settings) -> dict[str, str]:
    """Return the variables that the command reads, without secrets; threads that wait sleep instead of spinning."""
    return {
        "CHURN_PROJECT": settings.project,
        "CHURN_MLFLOW__TRACKING_URI": settings.mlflow.tracking_uri,
        "CHURN_TRAINING__DEVICE": settings.training.device,
        "CHURN_TRAINING__THREADS": str(settings.training.threads),
        "OMP_WAIT_POLICY": "passive",
    }
