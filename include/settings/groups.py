"""The groups of settings: endpoint, training, pods and tasks."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from include.addresses import Address


class Group(BaseModel):
    """A group of settings; unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


# Absolute, because a server process has its own working directory. An empty variable counts as not set.
OptionalFile = Annotated[Path | None, BeforeValidator(lambda path: Path(path).absolute() if path else None)]


class PredictionLogSettings(Group):
    """The prediction log.

    Attributes:
        enabled: Whether predictions are logged.
        uri: The destination of segments: a folder, by default ``<home>/prediction_log/<project>``, or
            ``s3://bucket/prefix``. Credentials come from the environment.
        spool: The folder of segments that are not yet delivered, on a disk of this machine;
            ``<home>/prediction_log_spool/<project>`` by default.
        features: Whether the features of a prediction are logged too.
        flush_seconds: The interval at which predictions are written from memory to a segment. A server process that is
            killed loses at most the predictions of one interval.
        max_waiting_rows: The largest number of predictions in memory; further predictions are counted as lost.
        max_spool_bytes: The largest size of the spool while segments cannot be delivered; further predictions are
            counted as lost.
        keep_days: The number of days before the newest day for which collected segments are kept.
    """

    enabled: bool = True
    uri: Address = Field(default="", pattern=r"^(/.+|s3://.+)?$")
    spool: str = Field(default="", pattern=r"^(/.+)?$")
    features: bool = True
    flush_seconds: float = Field(default=5.0, gt=0, le=60)
    max_waiting_rows: int = Field(default=200_000, gt=0)
    max_spool_bytes: int = Field(default=2**30, gt=0)
    keep_days: int = Field(default=7, ge=0)


class StoreSettings(Group):
    """The online store, which contains the features of customers for requests with an id only.

    Attributes:
        backend: ``embedded``: files under ``<home>/online_store``, for the processes of one machine. ``redis``: a
            server for several machines. ``none``: no store.
        url: The Redis server: ``redis://user:password@host:6379/0``, ``rediss://...`` with TLS, ``unix:///path``.
        timeout_seconds: The time-out of a query to Redis.
    """

    backend: Literal["embedded", "redis", "none"] = "embedded"
    url: SecretStr = SecretStr("")
    timeout_seconds: float = Field(default=0.25, gt=0)

    @model_validator(mode="after")
    def _check_url(self) -> StoreSettings:
        if self.backend == "redis" and not self.url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("backend 'redis' requires a url that begins with redis://, rediss:// or unix://")
        return self


class LimitSettings(Group):
    """The limits of one server process, which responds 503 beyond them.

    Attributes:
        in_flight: The number of requests in progress. A request counts once more for each 64 KiB of its body.
        body_bytes: The total size of all request bodies in memory, including bodies that are still arriving.
        event_loop_lag_seconds: The lag of the event loop: the lowest of the last four samples, one every 0.05 s.
        connections: The number of connections. A further connection replaces the connection that has been idle for
            the longest time. The hard limit of open files can lower the number.
        receive_seconds: The time-out for the arrival of a request.
    """

    in_flight: int = Field(default=256, ge=1)
    body_bytes: int = Field(default=256 * 2**20, ge=2**20)
    event_loop_lag_seconds: float = Field(default=0.5, gt=0)
    connections: int = Field(default=4096, ge=1)
    receive_seconds: float = Field(default=10.0, gt=0)


OpenRoute = Literal["/metrics", "/openapi.json"]


class ClusterSettings(Group):
    """The endpoint's Deployment on Kubernetes, when ``serving.backend`` is ``kubernetes``.

    Attributes:
        namespace: Its namespace.
        deployment: Its name.
        container: The container that serves.
        rollout_seconds: The time-out of a rolling update; it should exceed ``progressDeadlineSeconds``.
    """

    namespace: str = "churn"
    deployment: str = "churn-serving"
    container: str = "serving"
    rollout_seconds: float = Field(default=900, gt=0)


class ServingSettings(Group):
    """The endpoint and its deployment.

    Attributes:
        host: The address that the endpoint binds.
        port: The port that the endpoint binds.
        workers: The number of server processes.
        max_body_bytes: The largest body of ``/predict``.
        max_batch_body_bytes: The largest body of ``/predict_batch``. A JSON body is parsed in one piece, which blocks
            other requests for about 7 ms per MB.
        max_batch_rows: The largest number of rows in a batch.
        ready_timeout_seconds: The time-out for the start of a server.
        out_of_range: Whether a number outside the range of the model's contract is refused or accepted; both are
            counted.
        reasons_per_direction: The number of reasons in a response that raise the risk, and the number that lower it.
        stale_after_days: The age in days above which a response marks the stored features as stale.
        kept_bentos: The number of the newest Bentos that stay on disk after a deployment. Those in use and the previous
            one stay even if they are older.
        overlap_seconds: The time for which a new server runs beside the old server.
        drain_seconds: The time for which a stopping server waits for its clients to move to the next server.
        liveness_seconds: The interval of liveness probes; a server is ended after three failures.
        reasons_for: The number of customers at the top of the retention list with reasons.
        api_keys_file: The file of accepted API keys (``python -m include.serving new-key``); without a file, requests
            need no key.
        api_key: The key that the product's own client sends.
        open_routes: The routes that need no key, in addition to the probes. By default this includes metrics, since a
            scraper on the same machine has no key; set ``[]`` if the port is reachable from elsewhere.
        key_failures_per_minute: The number of requests without a valid key, per address and minute, after which the
            response is 429.
        limits: The limits of one server process.
        log: The prediction log.
        store: The online store.
        backend: Whether the runner on this machine serves, or a Deployment on Kubernetes.
        kubernetes: The Deployment.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=3000, ge=1, le=65535)
    workers: int = Field(default=1, ge=1)
    max_body_bytes: int = Field(default=65536, ge=1024)
    max_batch_body_bytes: int = Field(default=8 * 2**20, ge=1024)
    max_batch_rows: int = Field(default=5_000, ge=1)
    ready_timeout_seconds: float = Field(default=90.0, gt=0)
    out_of_range: Literal["refuse", "accept"] = "refuse"
    reasons_per_direction: int = Field(default=3, ge=1, le=20)
    stale_after_days: int = Field(default=2, ge=0)
    kept_bentos: int = Field(default=3, ge=1)
    overlap_seconds: float = Field(default=1.0, ge=0)
    drain_seconds: float = Field(default=20.0, ge=0)
    liveness_seconds: float = Field(default=5.0, gt=0)
    reasons_for: int = Field(default=1000, ge=0)
    api_keys_file: OptionalFile = None
    api_key: SecretStr = SecretStr("")
    open_routes: tuple[OpenRoute, ...] = ("/metrics",)
    key_failures_per_minute: int = Field(default=20, ge=1)
    limits: LimitSettings = LimitSettings()
    log: PredictionLogSettings = PredictionLogSettings()
    store: StoreSettings = StoreSettings()
    backend: Literal["runner", "kubernetes"] = "runner"
    kubernetes: ClusterSettings = ClusterSettings()

    @property
    def url(self) -> str:
        """The endpoint's base address."""
        return f"http://{self.host}:{self.port}"


LabelValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]


class PodSettings(Group):
    """The Kubernetes pods that tune and train when ``training.backend`` is ``kubernetes``.

    Attributes:
        image: The image, built from the Dockerfile's target ``training``.
        namespace: The namespace.
        service_account: The service account, which needs no permissions.
        data_claim: The persistent volume claim of the data sets; Airflow's ``<home>/training`` is on the same volume.
        data_path: The mount path of the volume in a pod.
        gpu_resource: The resource name of a GPU on the cluster.
        gpus: The number of GPUs of the pod that trains the final model.
        tuning_gpus: The number of GPUs of each worker's pod; a booster uses one.
        cpu_request: The CPU request of a pod.
        cpu_limit: The CPU limit of a pod.
        memory_request: The memory request of a pod.
        memory_limit: The memory limit of a pod.
        node_selector: The labels of nodes with GPUs; unused for pods without GPUs.
        tracking_env_from: The secret; its keys become environment variables of the pods.
        startup_timeout_seconds: The time-out for scheduling and for starting a pod; CUDA images are large.
        active_deadline_seconds: The longest duration of a pod; a pod that exceeds it is not retried.
        retries: The number of retries of a pod that fails for another reason.
        team: The team charged for the pods, as the label ``churnflow/team``.
        labels: Further labels.
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


class DatabaseTimeouts(Group):
    """The time-outs of connections to PostgreSQL: the sources, and the trials of the search.

    Attributes:
        connect_seconds: The time-out of each step of opening a connection.
        answer_seconds: The time-out for an answer of the server, for example the first rows of a query.
    """

    connect_seconds: float = Field(default=10, gt=0)
    answer_seconds: float = Field(default=300, gt=0)


class TaskSettings(Group):
    """The limits of Airflow's tasks and runs. A task that exceeds its time-out fails and is retried.

    Attributes:
        timeout_minutes: The time-out of a task. The longest task is the ingest of a long history in one run.
        training_timeout_minutes: The time-out of a tuning or training task, in a process or a pod. It includes the
            start-up of a pod.
        maintenance_days: The number of days, up to the newest day in gold, for which ``churn_maintenance`` looks for
            missing lists and reports.
        lineage_days: The number of days for which ``churn_maintenance`` keeps the files of lineage events.
        list_by: The time of day, in the project's time zone, at which the retention list of the previous day is due:
            ``07:00``. It applies with ``CHURN_SCHEDULE=daily``.
    """

    timeout_minutes: float = Field(default=120, gt=0)
    training_timeout_minutes: float = Field(default=240, gt=0)
    maintenance_days: int = Field(default=14, ge=1)
    lineage_days: int = Field(default=90, ge=1)
    list_by: dt.time = dt.time(7)

    @field_validator("list_by")
    @classmethod
    def _check_timezone(cls, list_by: dt.time) -> dt.time:
        if list_by.tzinfo is not None:
            raise ValueError("the time of day is in the project's time zone: give it without an offset, such as 07:00")
        return list_by

    @property
    def timeout(self) -> dt.timedelta:
        """The time-out of a task."""
        return dt.timedelta(minutes=self.timeout_minutes)

    @property
    def training_timeout(self) -> dt.timedelta:
        """The time-out of a tuning or training task."""
        return dt.timedelta(minutes=self.training_timeout_minutes)


class MetricsSettings(Group):
    """The metrics of the pipeline and of the model, which Prometheus reads from Airflow's api-server.

    Attributes:
        token_file: The file of the tokens with which Prometheus reads ``/churn/metrics``, one per line, each of at
            least 32 characters. They give access to no other page. Without a file, only tokens of Airflow are accepted.
    """

    token_file: OptionalFile = None


class TrainingSettings(Group):
    """The training.

    Attributes:
        backend: ``process`` trains in processes of the same machine, ``kubernetes`` in pods.
        device: The device of XGBoost.
        workers: The number of workers of the hyperparameter search, each with one thread. The result does not depend on
            it. Four trials are drawn at a time, so a fifth worker would be idle.
        tuning_storage: The database of the trials, as a SQLAlchemy URL: ``postgresql+psycopg2://...``. By default the
            trials are in a journal file in the data set's folder, which every worker must be able to read. Pods get
            the URL as a key of the secret ``pod.tracking_env_from``, never from this setting.
        approvers: The users of Airflow who may approve a promotion, as a JSON list of their ids. By default, every user
            who may change the task may approve it.
        pod: The pods.
    """

    backend: Literal["process", "kubernetes"] = "process"
    device: Literal["cpu", "cuda"] = "cpu"
    workers: int = Field(default=2, ge=1, le=4)
    tuning_storage: SecretStr = SecretStr("")
    approvers: tuple[str, ...] = ()
    pod: PodSettings = PodSettings()

    @model_validator(mode="after")
    def _check_gpus(self) -> TrainingSettings:
        if self.backend == "kubernetes":
            reserved = {self.pod.gpus > 0, self.pod.tuning_gpus > 0}
            if reserved != {self.device == "cuda"}:
                raise ValueError(
                    "pods must reserve GPUs if and only if they train on GPUs: set CHURN_TRAINING__DEVICE=cuda with "
                    "CHURN_TRAINING__POD__GPUS and CHURN_TRAINING__POD__TUNING_GPUS of at least 1, or both to 0"
                )
        return self

    @model_validator(mode="after")
    def _check_storage(self) -> TrainingSettings:
        # Within a pod, the command runs with backend 'process'.
        if self.backend == "kubernetes" and self.tuning_storage.get_secret_value():
            raise ValueError(
                "pods do not inherit CHURN_TRAINING__TUNING_STORAGE of this process: unset it here, and add it as a "
                f"key to the secret {self.pod.tracking_env_from!r}; its keys become the pods' variables"
            )
        return self
