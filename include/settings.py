"""Where things run. Every value comes from a ``CHURN_*`` variable, with a default that needs nothing installed.

Nested values are written with two underscores: ``CHURN_SERVING__PORT=3000``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.errors import ChurnflowError

ROOT = Path(__file__).resolve().parent.parent


class SettingsError(ChurnflowError):
    """A ``CHURN_*`` variable has a value that cannot be used."""


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MlflowSettings(_Group):
    """The tracking server and registry."""

    tracking_uri: str = "http://127.0.0.1:5000"


class PodSettings(_Group):
    """The Kubernetes pod that trains when ``training.backend`` is ``kubernetes``."""

    image: str = "churnflow-training:latest"
    namespace: str = "churn"
    service_account: str = "churn-training"
    data_claim: str = "training-data"
    data_path: str = "/data"
    gpu_resource: str = "nvidia.com/gpu"
    gpus: int = Field(default=2, ge=0)
    cpu_request: str = "4"
    cpu_limit: str = "8"
    memory_request: str = "16Gi"
    memory_limit: str = "32Gi"
    node_selector: dict[str, str] = {"accelerator": "nvidia"}
    tracking_env_from: str = "churn-tracking"
    startup_timeout_seconds: int = Field(default=900, gt=0)
    active_deadline_seconds: int = Field(default=7200, gt=0)
    retries: int = Field(default=3, ge=0)


class TrainingSettings(_Group):
    """How models are trained."""

    backend: Literal["process", "kubernetes"] = "process"
    device: Literal["cpu", "cuda"] = "cpu"
    threads: int = Field(default=2, ge=1, description="Folds fitted side by side; each booster uses one thread.")
    pod: PodSettings = PodSettings()


class ServingSettings(_Group):
    """The endpoint that answers predictions."""

    host: str = "127.0.0.1"
    port: int = Field(default=3000, ge=1, le=65535)
    staging_port: int = Field(default=3001, ge=1, le=65535, description="Where a new Bento is smoke-tested aside.")
    workers: int = Field(default=1, ge=1)
    max_body_bytes: int = Field(default=65536, ge=1024)
    ready_timeout_seconds: float = Field(default=90.0, gt=0)

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
        databases: The addresses of source databases by connection name, as SQLAlchemy URLs:
            ``CHURN_DATABASES__CRM=postgresql+psycopg2://...``. In Airflow the connection ``churn_<name>`` does as well.
        versions: Where raw data is versioned; ``<home>/versions`` by default.
        schedule: ``off`` never starts a run by itself; ``daily`` runs each day after it has closed.
    """

    model_config = SettingsConfigDict(
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
