"""The local stack's ports, each with the variable that changes it."""

from __future__ import annotations

import socket

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from include.errors import ChurnflowError
from include.settings import Settings


class PortError(ChurnflowError):
    """A port that the stack needs is taken."""


class LocalPorts(BaseSettings):
    """Ports of the parts that only the local stack starts, from ``CHURN_LOCAL_*`` variables."""

    model_config = SettingsConfigDict(env_prefix="CHURN_LOCAL_", frozen=True)

    airflow_port: int = Field(default=8080, ge=1, le=65535)
    mlflow_port: int = Field(default=5000, ge=1, le=65535)


def require_free(ports: LocalPorts, settings: Settings) -> None:
    """Check that everything the stack listens on is free.

    Raises:
        PortError: A port is taken; the message names the variable that changes it.
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
                    f"Port {port} is taken by another process.",
                    where=f"127.0.0.1:{port}",
                    remedy=f"End that process, or choose another port: {variable}=... make demo.",
                ) from error
