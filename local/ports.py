"""The ports of the local stack, and the variables that change them."""

from __future__ import annotations

import socket

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.errors import ChurnflowError
from include.settings import Settings


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
