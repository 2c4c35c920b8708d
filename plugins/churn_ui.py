"""The plugin that adds model health, reports and metrics to Airflow's UI.

Every process that loads plugins imports this file, including each task, although only the api-server shows pages. The
pages in ``churn_pages`` and Airflow's access check take seconds to import and are therefore imported by the first
request.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

PREFIX = "/churn"
# Airflow mounts the pages below its own path, but does not add this path to the URL of an iframe.
_ROOT = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request as an ASGI application, which the first request imports.

    Args:
        scope: The connection scope.
        receive: The channel of incoming events.
        send: The channel of outgoing events.
    """
    from churn_pages.app import app

    await app(scope, receive, send)


_PAGE = {"name": "Model health", "href": f"{_ROOT}{PREFIX}/health"}
_APPS: list[Any] = [{"app": pages, "url_prefix": PREFIX, "name": "Churnflow"}]
_VIEWS: list[Any] = [
    {**_PAGE, "destination": "nav", "url_route": "model-health"},
    {**_PAGE, "destination": "dag", "url_route": "churn-health"},
]


class ChurnUiPlugin(AirflowPlugin):
    """Add the pages to Airflow's navigation and, as a tab, to the page of each DAG."""

    name = "churn_ui"
    fastapi_apps = _APPS
    external_views = _VIEWS
