"""The access check of all routes: users of Airflow who may read the monitoring DAG, and Prometheus for the metrics.

Airflow's check accepts a bearer token or the session cookie; a page in a frame sends only the cookie. Airflow's tokens
expire, so Prometheus has a separate token, which gives access to the metrics only
(docs/decisions/0031-losses-and-deadlines.md).
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated

from airflow.api_fastapi.core_api.security import bearer_scheme, get_user, requires_access_dag
from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials

from include.errors import ChurnflowError
from include.settings import Settings, get_settings

METRICS_PATH = "/metrics"
MONITORING_DAG = "churn_monitor"

_SHORTEST_TOKEN = 32
_check_user = requires_access_dag(method="GET", param_dag_id=MONITORING_DAG)


class ScrapeTokenError(ChurnflowError):
    """The file of Prometheus' token cannot be read, or its token is too short."""


async def require_access(
    request: Request,
    settings: Annotated[Settings, Depends(get_settings)],
    bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer_scheme)],
) -> None:
    """Check that the request may read its route.

    Args:
        request: The request.
        settings: The settings with the file of Prometheus' token.
        bearer: The bearer token of the request; None without one.

    Raises:
        HTTPException: There is no valid token (401 or 403), or the user may not read the monitoring DAG (403).
        ScrapeTokenError: The file of Prometheus' token cannot be read, or its token is too short.
    """
    file = settings.metrics.token_file
    if bearer and file and request.scope["route"].path == METRICS_PATH and _is_token(bearer.credentials, file):
        return
    user = await get_user(request, None, bearer)
    await run_in_threadpool(_check_user, request, user)


def _is_token(given: str, file: Path) -> bool:
    # The file is read for each scrape, so that a new token needs no restart.
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ScrapeTokenError(
            "The token of Prometheus cannot be read.", where=str(file), remedy="Correct CHURN_METRICS__TOKEN_FILE."
        ) from error
    if len(token) < _SHORTEST_TOKEN:
        raise ScrapeTokenError(
            f"The token of Prometheus has fewer than {_SHORTEST_TOKEN} characters.",
            where=str(file),
            remedy="Write a random token, for example with `openssl rand -hex 32`.",
        )
    return secrets.compare_digest(given.encode(), token.encode())
