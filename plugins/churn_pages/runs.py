"""The newest runs of the pipeline's DAGs, read from Airflow's database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Set
from dataclasses import dataclass
from urllib.parse import quote

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
from sqlalchemy import func, select

PREFIX = "churn_"
NEWEST_RUNS = 10


@dataclass(frozen=True)
class Run:
    """A run of a DAG.

    Attributes:
        path: The path of its page, below Airflow's path.
        state: ``queued``, ``running``, ``success`` or ``failed``.
        day: The day that the run is for, as text; empty if its partition key is not a day.
        began: The time at which it began, in UTC; None while it is queued.
        ended: The time at which it ended, in UTC; None before.
    """

    path: str
    state: str
    day: str
    began: dt.datetime | None
    ended: dt.datetime | None

    @property
    def seconds(self) -> float | None:
        """The duration; None before the end."""
        return (self.ended - self.began).total_seconds() if self.began and self.ended else None


@dataclass(frozen=True)
class DagRuns:
    """A DAG and its newest runs.

    Attributes:
        dag_id: The id of the DAG.
        name: The name of the DAG in Airflow's UI.
        paused: Whether the DAG is paused.
        runs: The newest runs, newest first.
    """

    dag_id: str
    name: str
    paused: bool
    runs: tuple[Run, ...]


def read_runs(readable: Set[str]) -> list[DagRuns]:
    """Return the pipeline's DAGs, sorted by name, with their newest runs.

    Args:
        readable: The ids of the DAGs that the user may read.
    """
    order = func.row_number().over(partition_by=DagRun.dag_id, order_by=DagRun.run_after.desc()).label("place")
    columns = (DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.partition_key, DagRun.start_date, DagRun.end_date)
    wanted = sorted(dag_id for dag_id in readable if dag_id.startswith(PREFIX))
    ranked = select(*columns, order).where(DagRun.dag_id.in_(wanted)).subquery()
    with create_session() as session:
        dags = session.scalars(select(DagModel).where(DagModel.dag_id.in_(wanted), ~DagModel.is_stale))
        named = [(dag.dag_id, dag.dag_display_name, dag.is_paused) for dag in dags]
        newest = session.execute(
            select(ranked).where(ranked.c.place <= NEWEST_RUNS).order_by(ranked.c.dag_id, ranked.c.place)
        ).all()
    runs: dict[str, list[Run]] = {}
    for row in newest:
        path = f"/dags/{row.dag_id}/runs/{quote(row.run_id, safe='')}"
        day = (row.partition_key or "")[:10]
        runs.setdefault(row.dag_id, []).append(Run(path, str(row.state), day, row.start_date, row.end_date))
    found = [DagRuns(dag_id, name, paused, tuple(runs.get(dag_id, ()))) for dag_id, name, paused in named]
    return sorted(found, key=lambda dag: dag.name)
