"""Model health, reports and metrics inside Airflow's UI: what is shown is in ``churn_pages``.

Every process that loads plugins imports this file, each task among them, while only the api-server shows pages. The
pages and Airflow's own access check, which take seconds to import, are therefore loaded at the first request.
"""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

PREFIX = "/churn"


async def pages(scope: Any, receive: Any, send: Any) -> None:
    """Answer one request: an ASGI application that is loaded when it is first asked."""
    from churn_pages.app import app

    await app(scope, receive, send)


_PAGE = {"name": "Model health", "href": f"{PREFIX}/health"}
_APPS: list[Any] = [{"app": pages, "url_prefix": PREFIX, "name": "Churnflow"}]
_VIEWS: list[Any] = [
    {**_PAGE, "destination": "nav", "url_route": "model-health"},
    {**_PAGE, "destination": "dag", "url_route": "churn-health"},
]


class ChurnUiPlugin(AirflowPlugin):
    """Adds the pages to Airflow: in the navigation, and as a tab of a DAG's page."""

    name = "churn_ui"
    fastapi_apps = _APPS
    external_views = _VIEWS
