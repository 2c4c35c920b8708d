"""The one place that builds the environment of the stack's processes, and of the user's own ``bin/airflow``."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet

from include.settings import ROOT, Settings
from local.ports import LocalPorts
from local.postgres import database_url


def stack_environment(settings: Settings, ports: LocalPorts, postgres_host: str) -> dict[str, str]:
    """Return the variables that Airflow, MLflow and the endpoint run with, on top of the caller's own.

    Args:
        settings: The deployment.
        ports: The stack's ports.
        postgres_host: The folder of PostgreSQL's socket.
    """
    return os.environ | _product(settings, ports) | _airflow(settings, ports, postgres_host) | _quiet()


def _product(settings: Settings, ports: LocalPorts) -> dict[str, str]:
    return {
        "CHURN_HOME": str(settings.home),
        "CHURN_MLFLOW__TRACKING_URI": f"http://127.0.0.1:{ports.mlflow_port}",
        "PATH": f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),
    }


def _airflow(settings: Settings, ports: LocalPorts, postgres_host: str) -> dict[str, str]:
    home = settings.home / "airflow"
    url = f"http://127.0.0.1:{ports.airflow_port}"
    kept = _kept_secrets(settings.home)
    sections = {
        "CORE": {
            "DAGS_FOLDER": str(ROOT / "dags"),
            "PLUGINS_FOLDER": str(ROOT / "plugins"),
            "LOAD_EXAMPLES": "False",
            "EXECUTOR": "LocalExecutor",
            # Two cores: more tasks at once only make each of them slower.
            "PARALLELISM": "4",
            "DAGS_ARE_PAUSED_AT_CREATION": "False",
            "EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "FERNET_KEY": kept["fernet_key"],
            # The UI listens on this machine only; a password would guard nothing.
            "SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        },
        "DATABASE": {
            "SQL_ALCHEMY_CONN": database_url(postgres_host, "airflow"),
            "SQL_ALCHEMY_CONN_ASYNC": database_url(postgres_host, "airflow", "asyncpg"),
        },
        "API": {
            "HOST": "127.0.0.1",
            "PORT": str(ports.airflow_port),
            "BASE_URL": url,
            "WORKERS": "1",
            "SECRET_KEY": kept["api_secret_key"],
        },
        "API_AUTH": {"JWT_SECRET": kept["jwt_secret"]},
        # A task's first call can wait for a busy api-server on two cores.
        "WORKERS": {"EXECUTION_API_TIMEOUT": "30"},
        "SCHEDULER": {"SCHEDULER_IDLE_SLEEP_TIME": "0.1"},
        "DAG_PROCESSOR": {"PARSING_PROCESSES": "1", "REFRESH_INTERVAL": "30", "MIN_FILE_PROCESS_INTERVAL": "30"},
        "LOGGING": {"BASE_LOG_FOLDER": str(home / "logs")},
        "USAGE_DATA_COLLECTION": {"ENABLED": "False"},
    }
    variables = {
        f"AIRFLOW__{section}__{key}": value for section, keys in sections.items() for key, value in keys.items()
    }
    return {"AIRFLOW_HOME": str(home), **variables}


def _quiet() -> dict[str, str]:
    """No part reports its use to anyone, and threads that wait for each other sleep."""
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


def _kept_secrets(home: Path) -> dict[str, str]:
    """Return this stack's keys, made at its first start and readable by its owner only."""
    path = home / "stack" / "secrets.json"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = {
            "fernet_key": Fernet.generate_key().decode(),
            "api_secret_key": secrets.token_urlsafe(32),
            "jwt_secret": secrets.token_urlsafe(64),
        }
        partial = path.with_suffix(".partial")
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
            json.dump(made, stream)
        partial.replace(path)
    kept: dict[str, str] = json.loads(path.read_text())
    return kept
