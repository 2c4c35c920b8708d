"""Where things run. Every value comes from a ``CHURN_*`` variable, with a default that needs nothing installed.

Nested values are written with two underscores: ``CHURN_SERVING__PORT=3000``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.errors import ChurnflowError
from include.settings.base import Group
from include.settings.serving import ServingSettings
from include.settings.training import TrainingSettings

ROOT = Path(__file__).resolve().parents[2]


class SettingsError(ChurnflowError):
    """A ``CHURN_*`` variable has a value that cannot be used."""


class MlflowSettings(Group):
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


class VersionSettings(Group):
    """Where versions of raw data are kept.

    Attributes:
        remote: DVC's remote: a folder, by default ``<home>/versions/remote``, or ``s3://bucket/prefix``. Credentials
            come from the environment (``AWS_ACCESS_KEY_ID`` and the like, or the machine's role).
    """

    remote: str = Field(default="", pattern=r"^(/.+|s3://[^/@:]+(/.*)?)?$")


class AlertSettings(Group):
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
        shadow_version: The version of that model.
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
    shadow_version: str = ""
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
