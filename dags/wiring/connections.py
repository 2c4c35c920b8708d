"""Source databases from Airflow connections: ``churn_crm`` is the connection ``crm`` of sources.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import SecretStr

    from include.sources.connections import Connections


_DRIVERS = {"postgres": "postgresql+psycopg2", "postgresql": "postgresql+psycopg2"}


def project_connections() -> Connections:
    """Return the locations of the project's sources.

    A database's URL in the environment (``CHURN_DATABASES__CRM``) takes precedence over the Airflow connection. A
    database with neither raises an error when it is read.
    """
    from include.projects import load_project
    from include.settings import get_settings
    from include.sources.connections import Connections

    settings = get_settings()
    sources = load_project(settings.project).sources.values()
    names = {source.database.connection for source in sources if source.database} - set(settings.databases)
    found = {name: url for name in sorted(names) if (url := _database_url(f"churn_{name}"))}
    return Connections.from_settings(settings, found)


def _database_url(connection_id: str) -> SecretStr | None:
    import sqlalchemy as sa
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException
    from pydantic import SecretStr

    try:
        found = Connection.get(connection_id)
    except AirflowNotFoundException:
        return None
    url = sa.URL.create(
        _DRIVERS.get(found.conn_type, found.conn_type),
        username=found.login,
        password=found.password,
        host=found.host,
        port=found.port,
        database=found.schema,
        query={key: str(value) for key, value in found.extra_dejson.items()},
    )
    return SecretStr(url.render_as_string(hide_password=False))
