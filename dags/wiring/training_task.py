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
_DATASET = "DATASET"
"""The environment variable with the name of the data set, which the shell of a process expands."""


def tuning_task(settings: Settings, dataset: str) -> MappedOperator:
    """Return the tuning task, mapped over ``settings.training.workers`` workers.

    Args:
        settings: The backend, the number of workers, and the pods.
        dataset: The data set's name, or a template that is rendered when the task runs.
    """
    from include.training.commands import dataset_path, tuning_command

    in_pods = settings.training.backend == "kubernetes"
    folder = dataset_path(settings, dataset if in_pods else f"${_DATASET}")
    python = "python" if in_pods else sys.executable
    commands = [tuning_command(folder, worker, python) for worker in range(settings.training.workers)]
    named = {"task_id": TUNE, "map_index_template": "worker {{ ti.map_index }}"}
    if in_pods:
        from dags.wiring.training_pod import TrainingPodOperator, pod_arguments

        described = pod_arguments(settings, "tuning", settings.training.pod.tuning_gpus)
        return TrainingPodOperator.partial(**named, **described, cmds=commands[0][:1]).expand(
            arguments=[command[1:] for command in commands]
        )
    from dags.wiring.training_process import TrainingProcess

    return TrainingProcess.partial(**named, **_process(settings, dataset)).expand(
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

    in_pods = settings.training.backend == "kubernetes"
    folder = dataset_path(settings, dataset if in_pods else f"${_DATASET}")
    result = f"{folder}/{RESULT}"
    named = {"task_id": TRAIN, "trigger_rule": trigger_rule}
    if in_pods:
        from dags.wiring.training_pod import TrainingPodOperator, pod_arguments

        command = training_command(folder, result)
        described = pod_arguments(settings, "training", settings.training.pod.gpus)
        return TrainingPodOperator(**named, **described, cmds=command[:1], arguments=command[1:])
    from dags.wiring.training_process import TrainingProcess

    command = training_command(folder, result, sys.executable)
    return TrainingProcess(**named, **_process(settings, dataset), bash_command=_shell_text(command))


def _process(settings: Settings, dataset: str) -> dict[str, Any]:
    from include.training.commands import training_environment

    return {
        "env": training_environment(settings) | {_DATASET: dataset},
        "append_env": True,
        "cwd": str(ROOT),
        "execution_timeout": settings.tasks.training_timeout,
    }


def _shell_text(command: list[str]) -> str:
    # A user who may change the XCom that names the data set must not be able to run commands: the shell expands the
    # variable, but does not interpret its value.
    return " ".join(shlex.quote(part).replace(f"${_DATASET}", f"'\"${_DATASET}\"'") for part in command)
