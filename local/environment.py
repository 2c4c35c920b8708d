"""The ports of the local stack, and the environment variables of its processes and of ``bin/airflow``."""

from __future__ import annotations

import json
import os
import secrets
import socket
from pathlib import Path

from cryptography.fernet import Fernet
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.errors import ChurnflowError
from include.local_files import PRIVATE, write_atomically
from include.settings import ROOT, Settings
from local.postgres import database_url
from local.users import LocalUsers


class PortError(ChurnflowError):
    """A port of the stack is in use."""


class LocalPorts(BaseSettings):
    """The ports of Airflow and MLflow, from ``CHURN_LOCAL_*`` variables."""

    model_config = SettingsConfigDict(env_prefix="CHURN_LOCAL_", frozen=True)

    airflow_port: int = Field(default=8080, ge=1, le=65535)
    mlflow_port: int = Field(default=5000, ge=1, le=65535)


def require_free(ports: LocalPorts, settings: Settings) -> None:
    """Check that all ports of the stack are free.

    Args:
        ports: The ports of Airflow and MLflow.
        settings: The settings with the port of the endpoint.

    Raises:
        PortError: A port is in use; the message names the variable that changes it.
    """
    wanted = {
        "CHURN_LOCAL_AIRFLOW_PORT": ports.airflow_port,
        "CHURN_LOCAL_MLFLOW_PORT": ports.mlflow_port,
        "CHURN_SERVING__PORT": settings.serving.port,
    }
    for variable, port in wanted.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise PortError(
                    f"Port {port} is in use by another process.",
                    where=f"127.0.0.1:{port}",
                    remedy=f"End that process, or choose another port: {variable}=... make demo.",
                ) from error


def stack_environment(settings: Settings, ports: LocalPorts, postgres_host: str) -> dict[str, str]:
    """Return the caller's variables, updated with those of Airflow, MLflow and the endpoint.

    Args:
        settings: The deployment.
        ports: The stack's ports.
        postgres_host: The folder of the PostgreSQL socket.
    """
    own = _product(settings, ports) | _airflow(settings, ports, postgres_host) | _quiet()
    return lineage_environment(settings) | os.environ | own


def lineage_environment(settings: Settings) -> dict[str, str]:
    """Return the variables of the lineage events, which the caller's variables replace; see docs/lineage.md.

    Those that do not depend on the settings are also in the Dockerfile.

    Args:
        settings: The home folder and the project.
    """
    return {
        "AIRFLOW__OPENLINEAGE__NAMESPACE": settings.project,
        "AIRFLOW__OPENLINEAGE__EXTRACTORS": "dags.wiring.lineage.TaskLineage",
        # The process of a task has threads, so that a fork of it can wait for ever.
        "AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD": "True",
        # The events of whole runs would need another process of the scheduler.
        "AIRFLOW__OPENLINEAGE__EMISSION_POLICY": json.dumps(
            [{"scope": {}, "controls": {"emit_dag_events": False, "include_source_code": False}}]
        ),
        "OPENLINEAGE__TRANSPORT__TYPE": "transform",
        "OPENLINEAGE__TRANSPORT__TRANSFORMER_CLASS": "dags.wiring.lineage.WithoutUserInput",
        "OPENLINEAGE__TRANSPORT__TRANSPORT__TYPE": "file",
        "OPENLINEAGE__TRANSPORT__TRANSPORT__LOG_FILE_PATH": f"{settings.lineage_dir}/event",
        "OPENLINEAGE__TRANSPORT__TRANSPORT__FILESYSTEM": "fsspec.implementations.local.LocalFileSystem",
        "OPENLINEAGE__TRANSPORT__TRANSPORT__FS_KWARGS__AUTO_MKDIR": "true",
    }


def airflow_database(settings: Settings) -> str:
    """Return the name of the project's Airflow database.

    With one database for all projects, unfinished runs of a project would continue with the data of another project,
    since the DAGs have the same ids.
    """
    return f"airflow_{settings.project}"


def _product(settings: Settings, ports: LocalPorts) -> dict[str, str]:
    return {
        "CHURN_HOME": str(settings.home),
        "CHURN_PROJECT": settings.project,
        "CHURN_MLFLOW__TRACKING_URI": f"http://127.0.0.1:{ports.mlflow_port}",
        "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),
    }


def _airflow(settings: Settings, ports: LocalPorts, postgres_host: str) -> dict[str, str]:
    home = settings.home / "airflow" / settings.project
    url = f"http://127.0.0.1:{ports.airflow_port}"
    secret = _stored_secrets(settings.home)
    sections = {
        "CORE": {
            "DAGS_FOLDER": str(ROOT / "dags"),
            "PLUGINS_FOLDER": str(ROOT / "plugins"),
            "LOAD_EXAMPLES": "False",
            "EXECUTOR": "local.executor.PreloadingExecutor",
            # Sized for two cores.
            "PARALLELISM": "4",
            "DAGS_ARE_PAUSED_AT_CREATION": "False",
            "EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "FERNET_KEY": secret["fernet_key"],
            **LocalUsers().options(settings.home / "stack"),
        },
        "DATABASE": {
            "SQL_ALCHEMY_CONN": database_url(postgres_host, airflow_database(settings)),
            "SQL_ALCHEMY_CONN_ASYNC": database_url(postgres_host, airflow_database(settings), "asyncpg"),
        },
        "API": {
            "HOST": "127.0.0.1",
            "PORT": str(ports.airflow_port),
            "BASE_URL": url,
            "WORKERS": "1",
            "SECRET_KEY": secret["api_secret_key"],
        },
        "API_AUTH": {"JWT_SECRET": secret["jwt_secret"]},
        # On two busy cores the api-server may take seconds to answer the first call of a task. A skipped task ends at
        # the next heartbeat after the end of its process; Airflow's default interval is 5 s.
        "WORKERS": {"EXECUTION_API_TIMEOUT": "30", "MIN_HEARTBEAT_INTERVAL": "1"},
        # Airflow's default of 1 s delays each task of a chain. The idle scheduler and its database take 11 % of a core
        # at 0.25 s and 4 % at 1 s.
        "SCHEDULER": {"SCHEDULER_IDLE_SLEEP_TIME": "0.5"},
        "DAG_PROCESSOR": {
            "PARSING_PROCESSES": "1",
            "REFRESH_INTERVAL": "30",
            "MIN_FILE_PROCESS_INTERVAL": "30",
            # If Slack refuses a message, it is sent again for up to three minutes.
            "DAG_FILE_PROCESSOR_TIMEOUT": "180",
        },
        "LOGGING": {"BASE_LOG_FOLDER": str(home / "logs")},
        "USAGE_DATA_COLLECTION": {"ENABLED": "False"},
    }
    variables = {
        f"AIRFLOW__{section}__{key}": value for section, keys in sections.items() for key, value in keys.items()
    }
    return {"AIRFLOW_HOME": str(home), **variables}


def _quiet() -> dict[str, str]:
    """Disable telemetry and progress bars, and let waiting OpenMP threads sleep."""
    return {
        "BENTOML_DO_NOT_TRACK": "True",
        "DO_NOT_TRACK": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "OMP_WAIT_POLICY": "passive",
        "PYTHONUNBUFFERED": "1",
    }


def _stored_secrets(home: Path) -> dict[str, str]:
    """Return the keys of the stack in ``home``, created at its first start in a file with mode 0600."""
    path = home / "stack" / "secrets.json"
    if not path.exists():
        created = {
            "fernet_key": Fernet.generate_key().decode(),
            "api_secret_key": secrets.token_urlsafe(32),
            "jwt_secret": secrets.token_urlsafe(64),
        }
        write_atomically(path, json.dumps(created), PRIVATE)
    stored: dict[str, str] = json.loads(path.read_text())
    return stored
