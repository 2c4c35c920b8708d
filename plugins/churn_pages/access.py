"""The access check of all routes: users of Airflow who may read the monitoring DAG, and Prometheus for the metrics.

Airflow's check accepts a bearer token or the session cookie; a page in a frame sends only the cookie. Airflow's tokens
expire, so Prometheus has separate tokens, which give access to the metrics only
(docs/decisions/0031-losses-and-deadlines.md).
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, bearer_scheme, get_user, requires_access_dag
from airflow.models import DagModel
from fastapi import Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials

from include.logs import get_logger
from include.settings import Settings, get_settings

log = get_logger(__name__)

METRICS_PATH = "/metrics"
MONITORING_DAG = "churn_monitor"
REPORT_DAGS = {
    "audit": "churn_ingest",
    "quality": "churn_ingest",
    "model": "churn_train",
    "load_test": "churn_deploy",
    "drift": MONITORING_DAG,
    "readiness": "churn_maintenance",
}
"""The DAG whose readers may read a kind of report."""

_SHORTEST_TOKEN = 32
_check_user = requires_access_dag(method="GET", param_dag_id=MONITORING_DAG)


async def require_access(
    request: Request,
    settings: Annotated[Settings, Depends(get_settings)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer_scheme)],
) -> None:
    """Check that the request may read its route.

    Args:
        request: The request.
        settings: The settings with the file of Prometheus' tokens.
        bearer: The bearer token of the request; None without one.

    Raises:
        HTTPException: There is no valid token (401 or 403), the user may not read the monitoring DAG (403), or the file
            of Prometheus' tokens cannot be read or contains a short token (500).
    """
    file = settings.metrics.token_file
    if bearer and file and request.scope["route"].path == METRICS_PATH and _is_token(bearer.credentials, file):
        return
    user = await get_user(request, None, bearer)
    await run_in_threadpool(_check_user, request, user)


def readable_kinds(user: GetUserDep) -> frozenset[str]:
    """Return the kinds of reports that a user may read: those of the DAGs that the user may read.

    Args:
        user: The user.
    """
    manager = get_auth_manager()
    dags = {
        dag
        for dag in set(REPORT_DAGS.values())
        if manager.is_authorized_dag(
            method="GET", details=DagDetails(id=dag, team_name=DagModel.get_team_name(dag)), user=user
        )
    }
    return frozenset(kind for kind, dag in REPORT_DAGS.items() if dag in dags)


def _is_token(given: str, file: Path) -> bool:
    # The file is read for each scrape, so that a new token needs no restart.
    try:
        tokens = file.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(file, "it cannot be read") from error
    if not tokens or min(map(len, tokens)) < _SHORTEST_TOKEN:
        reason = f"a token has fewer than {_SHORTEST_TOKEN} characters; write `openssl rand -hex 32` into it"
        raise _unusable(file, reason)
    return any(secrets.compare_digest(given.encode(), token.encode()) for token in tokens)


def _unusable(file: Path, reason: str) -> HTTPException:
    # The client is not yet known, so the path is only in the log.
    log.error(
        "unusable token of Prometheus",
        extra={"setting": "CHURN_METRICS__TOKEN_FILE", "file": str(file), "reason": reason},
    )
    return HTTPException(500, "The token of Prometheus is unusable. The log of the api-server states the cause.")
