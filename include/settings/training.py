"""How models are trained, and the pods that do it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from include.settings.base import Group

LabelValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]


class PodSettings(Group):
    """The Kubernetes pods that tune and train when ``training.backend`` is ``kubernetes``.

    Attributes:
        image: The Dockerfile's target ``training``.
        namespace: Where the pods run.
        service_account: What they run as; it needs no rights.
        data_claim: The claim with the data sets, which Airflow's own ``<home>/training`` lies on, too.
        data_path: Where a pod mounts it.
        gpu_resource: What a GPU is called on the cluster.
        gpus: GPUs of the pod that trains the final model.
        tuning_gpus: GPUs of each worker's pod; a booster uses one.
        cpu_request: Processor cores of a pod, at least.
        cpu_limit: And at most.
        memory_request: Memory of a pod, at least.
        memory_limit: And at most.
        node_selector: Labels of the nodes that have GPUs; not used for a pod without.
        tracking_env_from: The secret whose keys become the pods' variables.
        startup_timeout_seconds: How long a pod may take to be scheduled, and then to start: CUDA images are large.
        active_deadline_seconds: How long one pod may run; a pod that ran so long is not tried again.
        retries: How often a pod that failed otherwise is tried again.
        team: Who is charged for the pods; the label ``churnflow/team``.
        labels: More labels.
    """

    image: str = "churnflow-training:latest"
    namespace: str = "churn"
    service_account: str = "churn-training"
    data_claim: str = "training-data"
    data_path: str = "/data"
    gpu_resource: str = "nvidia.com/gpu"
    gpus: int = Field(default=2, ge=0)
    tuning_gpus: int = Field(default=1, ge=0)
    cpu_request: str = "4"
    cpu_limit: str = "8"
    memory_request: str = "16Gi"
    memory_limit: str = "32Gi"
    node_selector: dict[str, str] = Field(default={"accelerator": "nvidia"})
    tracking_env_from: str = "churn-tracking"
    startup_timeout_seconds: int = Field(default=900, gt=0)
    active_deadline_seconds: int = Field(default=7200, gt=0)
    retries: int = Field(default=3, ge=0)
    team: LabelValue = "churnflow"
    labels: dict[str, LabelValue] = Field(default={})


class TrainingSettings(Group):
    """How models are trained.

    Attributes:
        workers: How many workers share a search of hyperparameters, each with one thread. The result does not depend
            on it. Four trials are drawn at a time: a fifth worker would wait.
        tuning_storage: The database that keeps the trials, as a SQLAlchemy URL: ``postgresql+psycopg2://...``. Where
            it is empty, a journal file in the data set's folder does; every worker must then see that folder. Pods get
            it as a key of the secret ``pod.tracking_env_from``, and never from here.
    """

    backend: Literal["process", "kubernetes"] = "process"
    device: Literal["cpu", "cuda"] = "cpu"
    workers: int = Field(default=2, ge=1, le=4)
    tuning_storage: SecretStr = SecretStr("")
    pod: PodSettings = PodSettings()

    @model_validator(mode="after")
    def _pods_reserve_what_they_use(self) -> TrainingSettings:
        if self.backend == "kubernetes":
            reserved = {self.pod.gpus > 0, self.pod.tuning_gpus > 0}
            if reserved != {self.device == "cuda"}:
                raise ValueError(
                    "pods reserve GPUs if, and only if, they train on them: set CHURN_TRAINING__DEVICE=cuda with "
                    "CHURN_TRAINING__POD__GPUS and CHURN_TRAINING__POD__TUNING_GPUS of at least 1, or both to 0"
                )
        return self

    @model_validator(mode="after")
    def _pods_get_the_storage_from_their_secret(self) -> TrainingSettings:
        # A pod itself runs the command with backend 'process'.
        if self.backend == "kubernetes" and self.tuning_storage.get_secret_value():
            raise ValueError(
                "pods would not see CHURN_TRAINING__TUNING_STORAGE of this process: unset it here, and make it a key "
                f"of the secret {self.pod.tracking_env_from!r}, whose keys become the pods' variables"
            )
        return self
