"""Airflow connections as the addresses of source databases: ``churn_crm`` is the connection ``crm`` of sources.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import SecretStr

    from include.sources.connections import Connections


_DRIVERS = {"postgres": "postgresql+psycopg2", "postgresql": "postgresql+psycopg2"}


def project_connections() -> Connections:
    """Return where the project's sources are read from.

    A database's address in the environment (``CHURN_DATABASES__CRM``) wins over the Airflow connection. One that
    neither names is missed by whoever wants to read it.
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
        known = Connection.get(connection_id)
    except AirflowNotFoundException:
        return None
    url = sa.URL.create(
        _DRIVERS.get(known.conn_type, known.conn_type),
        username=known.login,
        password=known.password,
        host=known.host,
        port=known.port,
        database=known.schema,
        query={key: str(value) for key, value in known.extra_dejson.items()},
    )
    return SecretStr(url.render_as_string(hide_password=False))
