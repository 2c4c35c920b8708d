"""The tasks of tuning and training: local processes or Kubernetes pods with the same commands."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

from include.settings import ROOT, Settings

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator
    from airflow.sdk.definitions.mappedoperator import MappedOperator

TUNE = "tune"
TRAIN = "train"
RESULT = "result.json"
"""The result file of the training, in the data set's folder."""


def tuning_task(settings: Settings, dataset: str) -> MappedOperator:
    """Return the tuning task, mapped over ``settings.training.workers`` workers.

    Args:
        settings: The backend, the number of workers, and the pods.
        dataset: The data set's name, or a template that is rendered when the task runs.
    """
    from include.training.commands import dataset_path, tuning_command

    folder = dataset_path(settings, dataset)
    python = "python" if settings.training.backend == "kubernetes" else sys.executable
    commands = [tuning_command(folder, worker, python) for worker in range(settings.training.workers)]
    named = {"task_id": TUNE, "map_index_template": "worker {{ ti.map_index }}"}
    if settings.training.backend == "kubernetes":
        from dags.wiring.training_pod import TrainingPodOperator, pod_arguments

        described = pod_arguments(settings, "tuning", settings.training.pod.tuning_gpus)
        return TrainingPodOperator.partial(**named, **described, cmds=commands[0][:1]).expand(
            arguments=[command[1:] for command in commands]
        )
    from dags.wiring.training_process import TrainingProcess

    return TrainingProcess.partial(**named, **_process(settings)).expand(
        bash_command=[_shell_text(command) for command in commands]
    )


def training_task(settings: Settings, dataset: str, trigger_rule: str = "all_success") -> BaseOperator:
    """Return the training task: it runs the missing trials and trains the final model.

    Args:
        settings: The backend and the pod.
        dataset: The data set's name, or a template that is rendered when the task runs.
        trigger_rule: The condition on the upstream tasks.
    """
    from include.training.commands import dataset_path, training_command

    folder = dataset_path(settings, dataset)
    result = f"{folder}/{RESULT}"
    named = {"task_id": TRAIN, "trigger_rule": trigger_rule}
    if settings.training.backend == "kubernetes":
        from dags.wiring.training_pod import TrainingPodOperator, pod_arguments

        command = training_command(folder, result)
        described = pod_arguments(settings, "training", settings.training.pod.gpus)
        return TrainingPodOperator(**named, **described, cmds=command[:1], arguments=command[1:])
    from dags.wiring.training_process import TrainingProcess

    command = training_command(folder, result, sys.executable)
    return TrainingProcess(**named, **_process(settings), bash_command=_shell_text(command))


def _process(settings: Settings) -> dict[str, Any]:
    from include.training.commands import training_environment

    return {
        "env": training_environment(settings),
        "append_env": True,
        "cwd": str(ROOT),
        "execution_timeout": settings.tasks.training_timeout,
    }


def _shell_text(command: list[str]) -> str:
    # Paths come from the settings; templates are rendered with values of Airflow, so both are safe in a shell.
    return " ".join(f'"{part}"' if "{{" in part else shlex.quote(part) for part in command)
