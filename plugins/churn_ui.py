"""The plugin that adds model health, reports and metrics to Airflow's UI.

Every process that loads plugins imports this file, including each task, although only the api-server shows pages. The
pages in ``churn_pages`` take seconds to import. Only the api-server creates the middleware, which imports them in the
background, so that the first request does not have to wait for the import.
"""

from __future__ import annotations

from importlib import import_module
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

PREFIX = "/churn"
# Airflow mounts the pages below its own path, but does not add this path to the URL of an iframe.
_ROOT = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """Answer a request with the application of ``churn_pages``.

    Args:
        scope: The connection scope.
        receive: The channel of incoming events.
        send: The channel of outgoing events.
    """
    from churn_pages.app import app

    await app(scope, receive, send)


class ImportPages:
    """A middleware that only imports the pages, because Airflow creates it when the api-server starts.

    Args:
        app: The application that answers all requests.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        Thread(target=import_module, args=("churn_pages.app",), daemon=True).start()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request to the application.

        Args:
            scope: The connection scope.
            receive: The channel of incoming events.
            send: The channel of outgoing events.
        """
        await self._app(scope, receive, send)


_PAGE = {"name": "Model health", "href": f"{_ROOT}{PREFIX}/health"}
_APPS: list[Any] = [{"app": pages, "url_prefix": PREFIX, "name": "Churnflow"}]
_MIDDLEWARES: list[Any] = [{"middleware": ImportPages, "name": "Churnflow"}]
_VIEWS: list[Any] = [
    {**_PAGE, "destination": "nav", "url_route": "model-health"},
    {**_PAGE, "destination": "dag", "url_route": "churn-health"},
]


class ChurnUiPlugin(AirflowPlugin):
    """Add the pages to Airflow's navigation and, as a tab, to the page of each DAG."""

    name = "churn_ui"
    fastapi_apps = _APPS
    fastapi_root_middlewares = _MIDDLEWARES
    external_views = _VIEWS
