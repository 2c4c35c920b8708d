"""What all simulated APIs of Kubernetes share: the client's configuration, and the form of an error."""

from __future__ import annotations

from typing import Any

TOKEN = "token-of-the-simulated-cluster"


def kubeconfig(url: str) -> dict[str, Any]:
    """Return the client configuration for the API at ``url``."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "simulated", "cluster": {"server": url}}],
        "users": [{"name": "airflow", "user": {"token": TOKEN}}],
        "contexts": [{"name": "simulated", "context": {"cluster": "simulated", "user": "airflow"}}],
        "current-context": "simulated",
    }


def failure(code: int, message: str) -> dict[str, Any]:
    """Return the content of an error response."""
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message}
