"""Dumps of the PostgreSQL databases of Airflow and MLflow, by ``pg_dump`` and ``pg_restore``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import make_dsn
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from include.backup.errors import DatabaseError
from include.settings import Settings

_NEW, _OLD = "_restored", "_replaced"


@dataclass(frozen=True)
class Database:
    """One database of the deployment.

    Attributes:
        name: ``airflow`` or ``mlflow``.
        url: Its SQLAlchemy URL.
    """

    name: str
    url: SecretStr

    @property
    def dump_file(self) -> str:
        """The path of its dump in a backup."""
        return f"databases/{self.name}.dump"

    @property
    def database(self) -> str:
        """The name of the database on its server."""
        return str(self._connection()["dbname"])

    def called(self, database: str) -> Database:
        """Return a database on the same server.

        Args:
            database: The name on the server.
        """
        url = make_url(self.url.get_secret_value()).set(database=database)
        return Database(self.name, SecretStr(url.render_as_string(hide_password=False)))

    def dump(self, folder: Path) -> None:
        """Write the content of the database, as of one moment, to its file in a backup.

        Args:
            folder: The folder of the backup.

        Raises:
            DatabaseError: The server does not answer, or refuses.
        """
        path = folder / self.dump_file
        path.parent.mkdir(parents=True, exist_ok=True)
        self._run("pg_dump", self.database, "--format=custom", "--no-owner", "--no-privileges", f"--file={path}")

    def load(self, folder: Path) -> None:
        """Load the dump of a backup into a new database beside this one, which ``replace`` puts in its place.

        Args:
            folder: The folder of the backup.

        Raises:
            DatabaseError: The server does not answer, or refuses.
        """
        new = self.database + _NEW
        self.called(new).drop()
        self._server(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(new)))
        options = ("--exit-on-error", "--no-owner", "--no-privileges")
        self._run("pg_restore", new, *options, str(folder / self.dump_file))

    def replace(self) -> None:
        """Put the loaded database in the place of this one, in one transaction.

        Raises:
            DatabaseError: The server does not answer, or refuses.
        """
        rename, names = sql.SQL("ALTER DATABASE {} RENAME TO {}"), [self.database, self.database + _OLD]
        self.called(names[1]).drop()
        pairs = [(self.database + _NEW, self.database)]
        if self._exists():
            pairs.insert(0, (names[0], names[1]))
        renames = [rename.format(sql.Identifier(old), sql.Identifier(new)) for old, new in pairs]
        self._server(*renames, in_transaction=True)
        self.called(names[1]).drop()

    def drop(self) -> None:
        """Delete the database, if it exists, and end the connections to it.

        Raises:
            DatabaseError: The server does not answer, or refuses.
        """
        self._server(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.database)))

    def require_unused(self) -> None:
        """Check that no process is connected.

        Raises:
            DatabaseError: A process is connected, or the server does not answer.
        """
        query = sql.SQL("SELECT count(*) FROM pg_stat_activity WHERE datname = {}").format(sql.Literal(self.database))
        if users := self._server(query)[0][0]:
            raise self._error(f"{users} connections use the database {self.database}.", "Stop Airflow and MLflow.")

    def tables(self) -> dict[str, tuple[int, str]]:
        """Return the number of rows and a checksum of the content of each table; empty without a database.

        Raises:
            DatabaseError: The server does not answer, or refuses.
        """
        if not self._exists():
            return {}
        names = self._query(
            self.database,
            [
                sql.SQL(
                    "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE'"
                    " AND table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
                )
            ],
        )
        content = sql.SQL(
            "SELECT count(*), coalesce(md5(string_agg(hash, '' ORDER BY hash)), '')"
            " FROM (SELECT md5(t::text) AS hash FROM {} AS t) AS rows"
        )
        found = {}
        for schema, table in names:
            rows, checksum = self._query(self.database, [content.format(sql.Identifier(schema, table))])[0]
            found[f"{schema}.{table}"] = (int(rows), str(checksum))
        return found

    def _exists(self) -> bool:
        query = sql.SQL("SELECT 1 FROM pg_database WHERE datname = {}").format(sql.Literal(self.database))
        return bool(self._server(query))

    def _connection(self) -> dict[str, Any]:
        url = make_url(self.url.get_secret_value())
        names = {"host": url.host, "port": url.port, "user": url.username, "password": url.password}
        return {name: value for name, value in names.items() if value} | {"dbname": url.database, **url.query}

    def _server(self, *statements: sql.Composable, in_transaction: bool = False) -> list[tuple[Any, ...]]:
        return self._query("postgres", statements, in_transaction=in_transaction)

    def _query(
        self, database: str, statements: Sequence[sql.Composable], *, in_transaction: bool = False
    ) -> list[tuple[Any, ...]]:
        try:
            with closing(psycopg2.connect(**self._connection() | {"dbname": database})) as connection:
                connection.autocommit = not in_transaction  # databases are created and dropped outside transactions
                cursor = connection.cursor()
                for statement in statements:
                    cursor.execute(statement)
                if in_transaction:
                    connection.commit()
                return cursor.fetchall() if cursor.description else []
        except psycopg2.Error as error:
            reason = " ".join(str(error).split())
            raise self._error(
                f"PostgreSQL refused: {reason}", "Check the server and the rights of the user."
            ) from error

    def _run(self, program: str, database: str, *arguments: str) -> None:
        connection = self._connection() | {"dbname": database}
        password = connection.pop("password", "")
        if shutil.which(program) is None:
            raise self._error(
                f"{program} is not installed.", "Install PostgreSQL's client programs, and add them to PATH."
            )
        # The command line of a process is visible to all users, its environment is not.
        environment = os.environ | ({"PGPASSWORD": password} if password else {})
        command = [program, *arguments, f"--dbname={make_dsn(**connection)}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = " ".join(done.stderr.split()) or f"status {done.returncode}"
            remedy = "Check the server, the rights of the user, and that the program is not older than the server."
            raise self._error(f"{program} failed: {reason}", remedy)

    def _error(self, what: str, remedy: str) -> DatabaseError:
        return DatabaseError(what, where=f"CHURN_BACKUP__{self.name.upper()}_DATABASE", remedy=remedy)


def databases(settings: Settings) -> list[Database]:
    """Return the configured databases.

    Args:
        settings: The deployment.

    Raises:
        DatabaseError: MLflow is a server, but its database is not configured.
    """
    urls = {"airflow": settings.backup.airflow_database, "mlflow": settings.backup.mlflow_database}
    found = [Database(name, url) for name, url in urls.items() if url.get_secret_value()]
    if settings.mlflow.tracking_uri.startswith("http") and not settings.backup.mlflow_database.get_secret_value():
        raise DatabaseError(
            "The database of the MLflow server is not configured, so its registry cannot be backed up.",
            where="CHURN_BACKUP__MLFLOW_DATABASE",
            remedy="Set the variable, and CHURN_BACKUP__AIRFLOW_DATABASE.",
        )
    return found
