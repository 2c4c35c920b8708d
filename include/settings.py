"""Where things run. Every value comes from a ``CHURN_*`` variable, with a default that needs nothing installed.

Nested values are written with two underscores: ``CHURN_SERVING__PORT=3000``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.errors import ChurnflowError

ROOT = Path(__file__).resolve().parent.parent


class SettingsError(ChurnflowError):
    """A ``CHURN_*`` variable has a value that cannot be used."""


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MlflowSettings(_Group):
    """The tracking server and registry.

    Attributes:
        tracking_uri: Its address. It is shown in messages and in the manifests of pods, so that a server's holds no
            credentials: MLflow reads them from ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``.
    """

    tracking_uri: str = "http://127.0.0.1:5000"

    @field_validator("tracking_uri")
    @classmethod
    def _server_without_credentials(cls, uri: str) -> str:
        address = urlsplit(uri)
        if address.scheme in {"http", "https"} and "@" in address.netloc:
            raise ValueError(
                "the address of a tracking server holds no user and no password, since it is shown in messages and "
                "manifests: set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
            )
        return uri


# A server process has a working directory of its own; an empty variable is one that was not set.
OptionalFile = Annotated[Path | None, BeforeValidator(lambda path: Path(path).absolute() if path else None)]

LabelValue = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$")]


class PodSettings(_Group):
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
    node_selector: dict[str, str] = {"accelerator": "nvidia"}
    tracking_env_from: str = "churn-tracking"
    startup_timeout_seconds: int = Field(default=900, gt=0)
    active_deadline_seconds: int = Field(default=7200, gt=0)
    retries: int = Field(default=3, ge=0)
    team: LabelValue = "churnflow"
    labels: dict[str, LabelValue] = {}


class TrainingSettings(_Group):
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


class PredictionLogSettings(_Group):
    """The log of every answer that the endpoint gave.

    Attributes:
        enabled: Whether answers are logged.
        uri: Where finished parts are put: a folder, by default ``<home>/prediction_log/<project>``, or
            ``s3://bucket/prefix``. Credentials come from the environment.
        spool: The folder of parts that are not delivered yet; ``<home>/prediction_log_spool/<project>`` by default.
            It is on this machine.
        features: Whether the features that an answer was computed from are logged with it.
        flush_seconds: How long an answer stays in memory: what ``kill -9`` may lose.
        rotate_seconds: How old a part becomes before it is delivered.
        rotate_bytes: And how large.
        max_waiting_rows: Answers kept in memory while the disk is busy; more are counted as lost.
        max_spool_bytes: What the spool may hold while parts cannot be delivered; answers beyond are counted as lost.
        keep_days: Days, back from the newest, whose delivered parts stay after they were collected into the lake.
    """

    enabled: bool = True
    uri: str = Field(default="", pattern=r"^(/.+|s3://[^/@:]+(/.*)?)?$")
    spool: str = Field(default="", pattern=r"^(/.+)?$")
    features: bool = True
    flush_seconds: float = Field(default=1.0, gt=0, le=60)
    rotate_seconds: float = Field(default=60.0, gt=0)
    rotate_bytes: int = Field(default=64 * 2**20, gt=0)
    max_waiting_rows: int = Field(default=200_000, gt=0)
    max_spool_bytes: int = Field(default=2**30, gt=0)
    keep_days: int = Field(default=7, ge=0)


class StoreSettings(_Group):
    """Where the endpoint finds the features of a customer whom a request names by id alone.

    Attributes:
        backend: ``embedded`` is files under ``<home>/online_store``, for processes on one machine; ``redis`` serves
            several; ``none`` keeps nothing.
        url: The Redis server: ``redis://user:password@host:6379/0``, ``rediss://...`` with TLS, ``unix:///path``.
        timeout_seconds: How long a request waits for Redis.
    """

    backend: Literal["embedded", "redis", "none"] = "embedded"
    url: SecretStr = SecretStr("")
    timeout_seconds: float = Field(default=0.25, gt=0)

    @model_validator(mode="after")
    def _redis_has_an_address(self) -> StoreSettings:
        if self.backend == "redis" and not self.url.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("backend 'redis' takes a url that begins with redis://, rediss:// or unix://")
        return self


class LimitSettings(_Group):
    """What one server process takes on; it answers 503 to what is beyond.

    Attributes:
        in_flight: How many requests are answered at a time. A body counts once more for each 64 KiB that it has.
        body_bytes: How many bytes of bodies it holds, those that are still arriving included.
        event_loop_lag_seconds: How late its event loop may be, at each look of a fifth of a second.
        connections: How many connections it has; one more is closed at once.
        receive_seconds: How long a request may take to arrive.
    """

    in_flight: int = Field(default=256, ge=1)
    body_bytes: int = Field(default=256 * 2**20, ge=2**20)
    event_loop_lag_seconds: float = Field(default=0.5, gt=0)
    connections: int = Field(default=4096, ge=1)
    receive_seconds: float = Field(default=10.0, gt=0)


OpenRoute = Literal["/metrics", "/openapi.json"]


class ServingSettings(_Group):
    """The endpoint that answers predictions.

    Attributes:
        max_body_bytes: The largest body of ``/predict``.
        max_batch_body_bytes: The largest body of ``/predict_batch``. JSON is parsed in one piece, some 7 ms for each MB
            in which other requests wait.
        max_batch_rows: The longest batch.
        out_of_range: Whether a number beyond the range of the model's contract is refused or accepted; it is counted.
        reasons_per_direction: How many reasons an answer names that raise the risk, and how many that lower it.
        stale_after_days: The age in days beyond which an answer says that the stored features are stale.
        api_keys_file: The API keys that the endpoint accepts (``python -m include.serving new-key``); without a file it
            asks for none.
        api_key: The key that the product's own client sends.
        open_routes: What is answered without a key, besides the probes. Metrics are, since a scraper on the default of
            one machine has no key; give ``[]`` where others reach the port.
        key_failures_per_minute: Requests without a valid key that an address may send in a minute before it hears 429.
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
    kept_bentos: int = Field(
        default=3, ge=1, description="Bentos that a deployment leaves on disk, besides those in use and the one before."
    )
    overlap_seconds: float = Field(
        default=1.0, ge=0, description="How long a new server answers beside the old one before that one leaves."
    )
    drain_seconds: float = Field(
        default=20.0, ge=0, description="How long a server that ends waits for its clients to go to the next one."
    )
    liveness_seconds: float = Field(
        default=5.0,
        gt=0,
        description="Seconds between looks whether a server answers; after three misses it ends.",
    )
    reasons_for: int = Field(default=1000, ge=0, description="Customers at the top of the list who get reasons.")
    api_keys_file: OptionalFile = None
    api_key: SecretStr = SecretStr("")
    open_routes: tuple[OpenRoute, ...] = ("/metrics",)
    key_failures_per_minute: int = Field(default=20, ge=1)
    limits: LimitSettings = LimitSettings()
    log: PredictionLogSettings = PredictionLogSettings()
    store: StoreSettings = StoreSettings()

    @property
    def url(self) -> str:
        """The endpoint's base address."""
        return f"http://{self.host}:{self.port}"


class VersionSettings(_Group):
    """Where versions of raw data are kept.

    Attributes:
        remote: DVC's remote: a folder, by default ``<home>/versions/remote``, or ``s3://bucket/prefix``. Credentials
            come from the environment (``AWS_ACCESS_KEY_ID`` and the like, or the machine's role).
    """

    remote: str = Field(default="", pattern=r"^(/.+|s3://[^/@:]+(/.*)?)?$")


class AlertSettings(_Group):
    """Where alerts go."""

    slack_conn_id: str = "slack_churn"


class Settings(BaseSettings):
    """All settings of one deployment, which serves one project.

    Attributes:
        home: The folder for everything that this deployment writes locally.
        project: The folder under ``include/projects/`` that describes the business.
        landing_uri: Where source files arrive; ``<home>/landing`` by default.
        lake_uri: The lake; ``<home>/lake`` by default.
        reports_dir: HTML reports; ``<home>/reports`` by default.
        serving_dir: Bentos and the pointer to the one that serves; ``<home>/serving`` by default.
        shadow_bundle: The folder of a model that scores what the endpoint answers, without answering; none by default.
        databases: The addresses of source databases by connection name, as SQLAlchemy URLs:
            ``CHURN_DATABASES__CRM=postgresql+psycopg2://...``. In Airflow the connection ``churn_<name>`` does as well.
        versions: Where raw data is versioned; ``<home>/versions`` by default.
        schedule: ``off`` never starts a run by itself; ``daily`` runs each day after it has closed.
    """

    model_config = SettingsConfigDict(
        hide_input_in_errors=True,  # it may hold a password
        env_prefix="CHURN_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    home: Path = ROOT / "var"
    project: str = "grocery"
    landing_uri: str = ""
    lake_uri: str = ""
    reports_dir: Path = Path()
    serving_dir: Path = Path()
    shadow_bundle: str = Field(default="", pattern=r"^(/.+)?$")
    databases: dict[str, SecretStr] = {}
    versions: VersionSettings = VersionSettings()
    schedule: Literal["off", "daily"] = "off"
    mlflow: MlflowSettings = MlflowSettings()
    training: TrainingSettings = TrainingSettings()
    serving: ServingSettings = ServingSettings()
    alerts: AlertSettings = AlertSettings()

    @model_validator(mode="before")
    @classmethod
    def _place_under_home(cls, values: dict[str, object]) -> dict[str, object]:
        home = Path(str(values.get("home") or ROOT / "var")).absolute()
        defaults: dict[str, object] = {
            "home": home,
            "landing_uri": str(home / "landing"),
            "lake_uri": str(home / "lake"),
            "reports_dir": home / "reports",
            "serving_dir": home / "serving",
        }
        return defaults | {key: value for key, value in values.items() if key not in defaults or value} | {"home": home}


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the settings from the environment, once per process.

    Raises:
        SettingsError: A variable has a value that cannot be used; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = "CHURN_" + "__".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(
            first["msg"] + ".", where=f"environment variable {variable}", remedy=f"Correct or unset {variable}."
        ) from error
