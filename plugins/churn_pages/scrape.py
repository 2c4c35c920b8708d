"""The metrics of one scrape: the model, the pipeline, and Airflow's components and runs."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import sqlalchemy as sa
from airflow.jobs.job import Job
from airflow.models import DagModel, DagRun, Deadline, TaskInstance
from airflow.models.callback import Callback
from airflow.utils.session import create_session
from airflow.utils.state import CallbackState, DagRunState, TaskInstanceState

from include.monitoring.exposition import Exposition
from include.monitoring.health import served_model
from include.monitoring.metrics import add_model_metrics
from include.monitoring.pipeline_metrics import add_pipeline_metrics
from include.monitoring.results import newest_result
from include.projects import load_project

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from include.settings import Settings

_COMPONENTS = {"SchedulerJob": "scheduler", "DagProcessorJob": "dag-processor", "TriggererJob": "triggerer"}
_MLFLOW_SECONDS = 3.0


def render_metrics(settings: Settings) -> str:
    """Return all metrics in Prometheus' text format.

    Without Airflow's database, its metrics are left out and ``churn_airflow_database_up`` is 0.

    Args:
        settings: The settings of the deployment.

    Raises:
        ProjectError: The project is invalid.
        ProjectMismatchError: The deployed model or the newest monitoring result is of another project.
        ServingStateError: The serving state cannot be read.
        ResultError: The newest monitoring result is damaged.
    """
    out = Exposition(settings.project)
    add_model_metrics(served_model(settings), newest_result(settings.reports_dir), out)
    add_pipeline_metrics(load_project(settings.project), settings, out)
    reachable = False
    with suppress(sa.exc.OperationalError), create_session() as session:
        _components(session, out)
        _runs(session, out)
        _training(session, out)
        _deadlines(session, out)
        reachable = True
    text = "1 if Airflow's database answers, else 0."
    out.set("churn_airflow_database_up", text, float(reachable))
    out.set("churn_mlflow_up", "1 if MLflow answers, else 0.", float(_answers(settings.mlflow.tracking_uri)))
    return out.render()


def _components(session: Session, out: Exposition) -> None:
    query = sa.select(Job.job_type, sa.func.max(Job.latest_heartbeat)).where(Job.job_type.in_(_COMPONENTS))
    for job_type, heartbeat in session.execute(query.group_by(Job.job_type)):
        out.set(
            "churn_airflow_heartbeat_timestamp_seconds",
            "Time of the last heartbeat of a component of Airflow.",
            _seconds(heartbeat),
            component=_COMPONENTS[str(job_type)],
        )


def _runs(session: Session, out: Exposition) -> None:
    columns = (DagRun.dag_id, DagRun.state, sa.func.count(), sa.func.max(DagRun.end_date))
    known = sa.select(DagModel.dag_id).where(~DagModel.is_stale)
    query = sa.select(*columns).where(DagRun.dag_id.in_(known)).group_by(DagRun.dag_id, DagRun.state)
    for dag_id, state, number, ended in session.execute(query):
        out.set("churn_dag_runs", "Runs of a DAG in Airflow's database.", number, dag_id=dag_id, state=str(state))
        if state in (DagRunState.SUCCESS, DagRunState.FAILED):
            text = "Time at which the last run of a DAG with this state ended."
            name = "churn_dag_run_end_timestamp_seconds"
            out.set(name, text, _seconds(ended), dag_id=dag_id, state=str(state))


def _training(session: Session, out: Exposition) -> None:
    query = sa.select(TaskInstance.end_date, TaskInstance.duration).where(
        TaskInstance.dag_id == "churn_train",
        TaskInstance.task_id == "train",
        TaskInstance.state == TaskInstanceState.SUCCESS,
    )
    found = session.execute(query.order_by(TaskInstance.end_date.desc()).limit(1)).first()
    if found is not None:
        out.set("churn_training_timestamp_seconds", "Time at which the last training ended.", _seconds(found[0]))
        out.set("churn_training_duration_seconds", "Duration of the last training, without the tuning.", found[1])


def _deadlines(session: Session, out: Exposition) -> None:
    query = sa.select(sa.func.max(Deadline.deadline_time)).join(Callback, Deadline.callback_id == Callback.id)
    alerted = session.scalar(query.where(Deadline.missed, Callback.state == CallbackState.SUCCESS))
    text = "The last missed deadline of a list for which Airflow ran the callback."
    out.set("churn_deadline_alert_timestamp_seconds", text, _seconds(alerted))


def _seconds(moment: dt.datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _answers(uri: str) -> bool:
    try:
        return httpx.get(f"{uri.rstrip('/')}/health", timeout=_MLFLOW_SECONDS).is_success
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
