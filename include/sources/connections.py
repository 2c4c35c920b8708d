"""Connections: the addresses from which a deployment reads its sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from include.settings import DatabaseTimeouts, Settings
from include.sources.errors import SourceConnectionError


@dataclass(frozen=True)
class Connections:
    """The addresses of the sources of one project.

    Attributes:
        landing: The landing address of files: a folder or an fsspec address, such as ``s3://bucket/landing``.
        databases: The SQLAlchemy URLs of the databases, by connection name.
        timeouts: The time-outs of the databases.

    Examples:
        >>> Connections("s3://shop/landing").address("sales/{day}.csv")
        's3://shop/landing/sales/{day}.csv'
        >>> Connections("var/landing").address("s3://exports/sales/{day}.csv")
        's3://exports/sales/{day}.csv'
    """

    landing: str
    databases: Mapping[str, SecretStr] = field(default_factory=dict)
    timeouts: DatabaseTimeouts = field(default_factory=DatabaseTimeouts)

    @classmethod
    def from_settings(cls, settings: Settings, connections: Mapping[str, SecretStr] | None = None) -> Connections:
        """Return the connections of the configured project.

        Args:
            settings: The settings.
            connections: Further database URLs, by connection name; URLs in the settings take precedence.
        """
        databases = {**(connections or {}), **settings.databases}
        return cls(f"{settings.landing_uri}/{settings.project}", databases, settings.database_timeouts)

    def address(self, path: str) -> str:
        """Return the address of a source's ``path``: below the landing address, unless the path is absolute."""
        return path if "://" in path or path.startswith("/") else f"{self.landing.rstrip('/')}/{path}"

    def database_url(self, connection: str) -> SecretStr:
        """Return the URL of the database of a connection.

        Raises:
            SourceConnectionError: The connection has no URL.
        """
        if connection not in self.databases:
            raise SourceConnectionError(
                f"The database connection {connection!r} has no address.",
                where=f"CHURN_DATABASES__{connection.upper()} and the Airflow connection churn_{connection}",
                remedy="Set one of them.",
            )
        return self.databases[connection]
