"""The settings of a deployment. Each value comes from a ``CHURN_*`` variable and has a default for one machine.

The names of nested values contain two underscores: ``CHURN_SERVING__PORT=3000``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.addresses import Address
from include.errors import ChurnflowError
from include.settings.groups import (
    DatabaseTimeouts,
    Group,
    MetricsSettings,
    ServingSettings,
    TaskSettings,
    TrainingSettings,
)

EngineName = Literal["duckdb", "spark"]

ROOT = Path(__file__).resolve().parents[2]
_KEY_CHARACTERS = 32


class SettingsError(ChurnflowError):
    """A ``CHURN_*`` variable has an invalid value."""


class UnfinishedRestoreError(ChurnflowError):
    """The data of the deployment is incomplete, because a restore has not finished."""


class MlflowSettings(Group):
    """The tracking server and registry.

    Attributes:
        tracking_uri: The server's address. It appears in messages and in the manifests of pods, so it must not contain
            credentials; MLflow reads them from ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``, and the
            driver of a database from its own variables, such as ``PGPASSWORD``.
        timeout_seconds: The time-out of a request to the server, including the transfer of artifacts.
        retries: The number of retries of a request without a response. The pauses start at 2 s and double.
    """

    tracking_uri: Address = "http://127.0.0.1:5000"
    timeout_seconds: int = Field(default=30, gt=0)
    retries: int = Field(default=2, ge=0, le=10)


class ProvenanceSettings(Group):
    """The keys of the signed provenance of models; ``python -m include.provenance new-keys`` creates a pair.

    Attributes:
        signing_key: The file of the private key, with which ``churn_train`` and ``churn_deploy`` sign. Without it, the
            provenance is recorded without a signature.
        public_key: The file of the trusted public keys, one after another. If it is set, only models whose provenance
            is signed with one of them are deployed and served.
        check_data: Whether a deployment also reads the raw data of the training and checks its checksums.
    """

    signing_key: Path | None = None
    public_key: Path | None = None
    check_data: bool = True

    @field_validator("signing_key", "public_key", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None


class VersionSettings(Group):
    """The versions of raw data.

    Attributes:
        remote: DVC's remote: a folder, by default ``<home>/versions/remote``, or ``s3://bucket/prefix``. Credentials
            come from the environment (``AWS_ACCESS_KEY_ID``, or the machine's role).
    """

    remote: Address = Field(default="", pattern=r"^(/.+|s3://.+)?$")


class PrivacySettings(Group):
    """The keys with which the ids of erased customers are hashed.

    Attributes:
        key: The key, of at least 32 characters, such as ``openssl rand -hex 32`` prints.
        old_keys: Earlier keys, as a JSON list. A hash can only be compared with the key that made it, so a key is
            needed as long as the lake contains hashes that it made.
    """

    key: SecretStr = SecretStr("")
    old_keys: tuple[SecretStr, ...] = ()

    @field_validator("key", "old_keys")
    @classmethod
    def _check_length(cls, value: SecretStr | tuple[SecretStr, ...]) -> SecretStr | tuple[SecretStr, ...]:
        keys = value if isinstance(value, tuple) else (value,) if value.get_secret_value() else ()
        if any(len(key.get_secret_value()) < _KEY_CHARACTERS for key in keys):
            raise ValueError(
                f"a key must have at least {_KEY_CHARACTERS} characters, such as `openssl rand -hex 32` prints"
            )
        return value


NO_KEYS = PrivacySettings()


class AlertSettings(Group):
    """The destination of messages, and the links in them.

    Attributes:
        slack_conn_id: The Airflow connection of type ``slack`` (the token of a bot) or ``slackwebhook``. Without it,
            the messages are in the logs only.
        slack_channel: The id of the channel of the bot, at the end of the channel's details in Slack.
        runbook_url: The address of the published docs/runbook.md; by default, messages name the file.
    """

    slack_conn_id: str = "slack_churn"
    slack_channel: str = Field(default="", pattern=r"^([CG][A-Z0-9]+)?$")
    runbook_url: Address = Field(default="", pattern=r"^(https?://\S+)?$")


class BackupSettings(Group):
    """The PostgreSQL databases that a backup contains, as SQLAlchemy URLs: ``postgresql://user:password@host/name``.

    The user needs the right to read all tables and, for a restore, to create and rename databases.

    Attributes:
        airflow_database: Airflow's database; without it, a backup contains no runs, connections and variables.
        mlflow_database: The database of the MLflow server. It is not needed if ``mlflow.tracking_uri`` names an SQLite
            file.
    """

    airflow_database: SecretStr = SecretStr("")
    mlflow_database: SecretStr = SecretStr("")

    @field_validator("airflow_database", "mlflow_database")
    @classmethod
    def _check_scheme(cls, url: SecretStr) -> SecretStr:
        if url.get_secret_value() and not url.get_secret_value().startswith("postgresql"):
            raise ValueError("only databases of PostgreSQL can be backed up: postgresql://user:password@host/name")
        return url


class Settings(BaseSettings):
    """All settings of one deployment, which serves one project.

    Attributes:
        home: The folder of all local files of the deployment.
        project: The folder of the project under ``include/projects/``. All state of a project is in folders and under
            keys with this name, so that several projects can share the other settings.
        landing_uri: The address of delivered source files; ``<home>/landing`` by default. The files of the project are
            in ``<landing_uri>/<project>``.
        lake_uri: The address of the lakes; ``<home>/lake`` by default. The lake of the project is
            ``<lake_uri>/<project>``.
        reports_dir: The project's folder of reports: ``<CHURN_REPORTS_DIR>/<project>``, ``<home>/reports/<project>`` by
            default.
        serving_dir: The project's folder of Bentos and of the serving state: ``<CHURN_SERVING_DIR>/<project>``,
            ``<home>/serving/<project>`` by default.
        engine: The engine of the steps from bronze to gold, of labels and scores: ``duckdb`` in the task's
            process, or ``spark`` on the cluster that Spark's own configuration (``SPARK_CONF_DIR``) names.
        shadow_bundle: The folder of the shadow model, which scores each request without sending a response; none by
            default.
        shadow_version: The version of the shadow model.
        databases: The addresses of source databases by connection name, as SQLAlchemy URLs:
            ``CHURN_DATABASES__CRM=postgresql+psycopg2://...``. In Airflow, the connection ``churn_<name>`` is an
            alternative.
        database_timeouts: The time-outs of connections to databases.
        versions: The versions of raw data.
        schedule: ``off`` starts no run automatically; ``daily`` starts the run of each day after its end.
        mlflow: The tracking server and registry.
        training: The training.
        serving: The endpoint.
        alerts: The destination of messages.
        tasks: The time-outs of Airflow's tasks, and the time at which a list is due.
        metrics: The access of Prometheus to the metrics.
        privacy: The keys with which the ids of erased customers are hashed.
        backup: The databases that a backup contains.
    """

    model_config = SettingsConfigDict(
        hide_input_in_errors=True,  # the input may contain a password
        env_prefix="CHURN_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    home: Path = ROOT / "var"
    project: str = Field(default="grocery", pattern=r"^[a-z][a-z0-9_]*$")
    landing_uri: Address = ""
    lake_uri: Address = ""
    reports_dir: Path = Path()
    serving_dir: Path = Path()
    engine: EngineName = "duckdb"
    shadow_bundle: str = Field(default="", pattern=r"^(/.+)?$")
    shadow_version: str = ""
    databases: dict[str, SecretStr] = {}
    database_timeouts: DatabaseTimeouts = DatabaseTimeouts()
    versions: VersionSettings = VersionSettings()
    schedule: Literal["off", "daily"] = "off"
    provenance: ProvenanceSettings = ProvenanceSettings()
    mlflow: MlflowSettings = MlflowSettings()
    training: TrainingSettings = TrainingSettings()
    serving: ServingSettings = ServingSettings()
    alerts: AlertSettings = AlertSettings()
    tasks: TaskSettings = TaskSettings()
    metrics: MetricsSettings = MetricsSettings()
    privacy: PrivacySettings = PrivacySettings()
    backup: BackupSettings = BackupSettings()

    @property
    def unfinished_restore(self) -> Path:
        """The file that exists while a restore replaces the data of the deployment."""
        return self.home / "unfinished-restore"

    @property
    def lineage_dir(self) -> Path:
        """The folder of the project's lineage events, if they are written to files: ``<home>/lineage/<project>``."""
        return self.home / "lineage" / self.project

    @model_validator(mode="before")
    @classmethod
    def _place_under_home(cls, values: dict[str, object]) -> dict[str, object]:
        home = Path(str(values.get("home") or ROOT / "var")).absolute()
        project = str(values.get("project") or cls.model_fields["project"].default)
        defaults: dict[str, object] = {
            "home": home,
            "landing_uri": str(home / "landing"),
            "lake_uri": str(home / "lake"),
            "reports_dir": home / "reports",
            "serving_dir": home / "serving",
        }
        placed = defaults | {key: value for key, value in values.items() if key not in defaults or value}
        own = {name: Path(str(placed[name])) / project for name in ("reports_dir", "serving_dir")}
        return placed | {"home": home} | own


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the settings from the environment, once per process.

    Raises:
        SettingsError: A variable has an invalid value; the message states its name.
        UnfinishedRestoreError: A restore was interrupted while it replaced the data.
    """
    settings = read_settings()
    if settings.unfinished_restore.exists():
        raise UnfinishedRestoreError(
            "A restore has not finished, so parts of the data are missing or older than others.",
            where=str(settings.unfinished_restore),
            remedy="Wait until it ends. If it was interrupted, repeat it from the backup that the file names.",
        )
    return settings


def read_settings() -> Settings:
    """Read the settings from the environment, also after an interrupted restore.

    Raises:
        SettingsError: A variable has an invalid value; the message states its name.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = "CHURN_" + "__".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(
            first["msg"] + ".", where=f"environment variable {variable}", remedy=f"Correct or unset {variable}."
        ) from error
