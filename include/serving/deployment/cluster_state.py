"""The serving state of the endpoint on Kubernetes, in an annotation of its Deployment.

The Deployment keeps the record of its rollouts, since the processes that change the model have no common disk:
Airflow's workers and a release in CI. A change of the record is refused if another process has changed it in between.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from include.serving.deployment.cluster import EndpointDeployment
from include.serving.deployment.state import SCHEMA, ServingState
from include.settings import require_project

ROLLOUTS = "churnflow/rollouts"
"""The annotation of the Deployment with its rollouts."""

_KEPT_ROLLOUTS = 50
_INSERT = "INSERT INTO rollouts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class ClusterState(ServingState):
    """The serving state in an annotation of the Deployment, with the rows of the table of ``ServingState``.

    Args:
        deployment: The Deployment.
        project: The project.
    """

    def __init__(self, deployment: EndpointDeployment, project: str) -> None:
        self._deployment = deployment
        self._project = project
        self.where = deployment.where

    def _select(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._connection("read") as database:
            return database.execute(query, values).fetchall()

    @contextmanager
    def _connection(self, action: str) -> Iterator[sqlite3.Connection]:
        """Yield a database in memory with the rows; changes are written when the block ends."""
        deployment = self._deployment.read()["metadata"]
        text = (deployment.get("annotations") or {}).get(ROLLOUTS) or '{"next": 1, "rollouts": []}'
        try:
            found = json.loads(text)
            with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
                _load(database, found)
                for row in found["rollouts"]:
                    require_project(row["project"], self._project, what="The serving state", where=self.where)
                yield database
                changed = json.dumps(_dump(database))
        except (sqlite3.Error, ValueError, KeyError, TypeError) as error:
            raise self._error(action, error) from error
        if changed != json.dumps(found):
            self._deployment.annotate(ROLLOUTS, changed, deployment)


def _load(database: sqlite3.Connection, state: dict[str, Any]) -> None:
    database.execute(SCHEMA)
    columns = [column[1] for column in database.execute("PRAGMA table_info(rollouts)")]
    for row in state["rollouts"]:
        database.execute(_INSERT, tuple(row[column] for column in columns))
    database.execute("DELETE FROM sqlite_sequence")
    database.execute("INSERT INTO sqlite_sequence VALUES ('rollouts', ?)", (state["next"] - 1,))


def _dump(database: sqlite3.Connection) -> dict[str, Any]:
    cursor = database.execute("SELECT * FROM rollouts ORDER BY number DESC LIMIT ?", (_KEPT_ROLLOUTS,))
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    (last,) = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'rollouts'").fetchone()
    return {"next": last + 1, "rollouts": rows[::-1]}
