"""Read-only access to a SQL database: one consistent snapshot, retries, and no secrets in messages."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import NullPool
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from include.errors import ChurnflowError
from include.logs import get_logger
from include.sources.connections import Connections
from include.sources.errors import ConnectionLostError, DatabaseError, SourceConnectionError
from include.sources.postgres_timeouts import limit_postgres_waits, refuses_connection

log = get_logger(__name__)

Result = TypeVar("Result")

ATTEMPTS = 4
"""Number of attempts when a database does not answer or closes the connection."""


class SourceDatabase:
    """The database of a connection.

    Args:
        connection: The name of the connection.
        connections: The addresses.

    Raises:
        SourceConnectionError: The connection has no address, or its address is not a SQLAlchemy URL of an installed
            driver.
    """

    def __init__(self, connection: str, connections: Connections) -> None:
        self._url = _parse(connection, connections)
        self.kind = self._url.get_backend_name()
        self.is_postgresql = self.kind == "postgresql"
        self.label = f"{connection} ({self.kind} {self._url.host or 'socket'}/{self._url.database or ''})"
        limit_postgres_waits(connections.timeouts)
        try:
            self._engine = sa.create_engine(self._url, poolclass=NullPool, hide_parameters=True)
        except (sa.exc.ArgumentError, ImportError):
            raise SourceConnectionError(
                f"There is no driver for databases of kind {self._url.drivername!r}.",
                where=f"the address of connection {connection!r}",
                remedy="Use postgresql+psycopg2://, or install the driver's package.",
            ) from None

    @property
    def authentication(self) -> str:
        """The kind of authentication, without any credential."""
        if self._url.password or "password" in self._url.query:
            return "user and password"
        return "socket, as the operating system's user" if not self._url.host else "user without a password"

    def table_uri(self, table: str) -> str:
        """Return the address of a table, without credentials: ``postgres://host:5432/database.schema.table``.

        Args:
            table: The table, with its schema unless it is in the default schema.
        """
        kind, port, schema = ("postgres", 5432, "public") if self.is_postgresql else (self.kind, None, "")
        port = self._url.port or port
        server = f"{self._url.host or 'localhost'}:{port}" if port else self._url.host or "localhost"
        named = table if "." in table or not schema else f"{schema}.{table}"
        return f"{kind}://{server}/{self._url.database or ''}.{named}"

    @contextmanager
    def connect(self) -> Iterator[sa.Connection]:
        """Open a read-only transaction with one consistent snapshot and UTC as its time zone.

        Raises:
            SourceConnectionError: The database refuses the connection.
            ConnectionLostError: The database cannot be reached, or closed the connection.
            DatabaseError: The database rejected a statement.
        """
        try:
            with self._engine.connect() as connection:
                if self.is_postgresql:
                    connection = connection.execution_options(
                        isolation_level="REPEATABLE READ", postgresql_readonly=True
                    )
                    connection.execute(sa.text("SET LOCAL TIME ZONE 'UTC'"))
                    connection.execute(sa.text("SET LOCAL datestyle = 'ISO, YMD'"))
                    # Floats become the shortest text that is exact.
                    connection.execute(sa.text("SET LOCAL extra_float_digits = 3"))
                yield connection
        except sa.exc.DBAPIError as error:
            # The traceback must not contain the driver's error, which may quote the address.
            raise self._explain(error) from None

    def fetch(self, query: sa.Executable) -> Sequence[Any]:
        """Return all rows of a small result; a lost connection is retried."""

        def rows() -> Sequence[Any]:
            with self.connect() as connection:
                return connection.execute(query).all()

        return self.retried(rows)

    def retried(self, action: Callable[[], Result]) -> Result:
        """Call ``action``, and retry it if the connection is lost; other errors are not retried."""
        tries = Retrying(
            retry=retry_if_exception_type(ConnectionLostError),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_random_exponential(multiplier=0.5, max=10),
            before_sleep=self._log_retry,
            reraise=True,
        )
        return tries(action)

    def _log_retry(self, state: RetryCallState) -> None:
        log.warning("database connection lost", extra={"database": self.label, "attempt": state.attempt_number})

    def _explain(self, error: sa.exc.DBAPIError) -> ChurnflowError:
        reason = self._without_secrets(str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "")
        if isinstance(error, sa.exc.OperationalError) and refuses_connection(reason):
            return SourceConnectionError(
                f"The database refuses the connection: {reason}.",
                where=self.label,
                remedy="Correct the address, the user or the password of the connection; then run the days again.",
            )
        if error.connection_invalidated or isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError):
            return ConnectionLostError(
                f"The database does not answer: {reason}.",
                where=self.label,
                remedy="Start it, or correct the address of the connection; then run the days again.",
            )
        return DatabaseError(
            f"The database rejected the query: {reason}.",
            where=self.label,
            remedy="Grant SELECT to the user of the connection, or adapt sources.yaml; then run the days again.",
        )

    def _without_secrets(self, text: str) -> str:
        secrets: list[Any] = [self._url.password, self._url.query.get("password")]
        for secret in filter(None, secrets):
            text = text.replace(str(secret), "***")
        return text.rstrip(".")


def _parse(connection: str, connections: Connections) -> sa.URL:
    secret = connections.database_url(connection)
    try:
        return sa.make_url(secret.get_secret_value())
    except (sa.exc.ArgumentError, ValueError):
        # The error is not chained, since the parser's message may quote a part of the address.
        raise SourceConnectionError(
            f"The address of the database connection {connection!r} is not a SQLAlchemy URL.",
            where=f"CHURN_DATABASES__{connection.upper()} or the Airflow connection churn_{connection}",
            remedy="Write it as postgresql+psycopg2://user:password@host:5432/database, special characters escaped.",
        ) from None
