"""The approval of a promotion as an Airflow task: a person's decision, no response in time, and nothing to decide."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from include.projects import Project, load_project
from include.settings import ROOT
from include.training.release.approval import ApprovalForm

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.usefixtures("airflow_database")]

FORM = ApprovalForm("Promote churn-grocery version 7?", "| AUC | {{ 1 + 1 }} |")


def waiting_task(session: Any) -> Any:
    """Return the task that waits, after a check of its form."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.state import TaskInstanceState
    from sqlalchemy import select
    from sqlalchemy.orm import joinedload

    waits = TaskInstance.state == TaskInstanceState.AWAITING_INPUT
    query = select(TaskInstance).where(TaskInstance.dag_id == "approval", waits)
    found = session.scalars(query.options(joinedload(TaskInstance.hitl_detail))).one()
    assert (found.hitl_detail.subject, found.hitl_detail.body) == (FORM.title, FORM.text)
    return found


def person_responds(option: str) -> None:
    """Store a response of a person, as the API does."""
    from airflow.models.trigger import handle_event_submit
    from airflow.sdk import timezone
    from airflow.triggers.base import TriggerEvent
    from airflow.utils.session import create_session

    with create_session() as session:
        task = waiting_task(session)
        form = task.hitl_detail
        form.chosen_options, form.params_input = [option], {}
        form.responded_by, form.responded_at = {"id": "eva", "name": "Eva"}, timezone.utcnow()
        handle_event_submit(TriggerEvent(form.as_resume_event_payload()), task_instance=task, session=session)


def time_passes() -> None:
    """Let the scheduler find that the time for a response has passed."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.sdk import timezone
    from airflow.utils.session import create_session

    with create_session() as session:
        task = waiting_task(session)
        assert 3000 < (task.trigger_timeout - timezone.utcnow()).total_seconds() <= 3600
        task.trigger_timeout = timezone.utcnow()
    SchedulerJobRunner(Job()).check_awaiting_input_timeouts()


def refuse_to_wait() -> None:
    raise AssertionError("The task waits.")


@pytest.mark.parametrize(
    ("form", "respond", "expected"),
    [
        (FORM, lambda: person_responds("Approve version 7"), {"approved": True, "by": "Eva"}),
        (FORM, lambda: person_responds("Reject"), {"approved": False, "by": "Eva"}),
        (FORM, time_passes, {"approved": False, "by": None}),
        (None, refuse_to_wait, None),
    ],
    ids=["approved", "rejected", "no response", "nothing to decide"],
)
def test_decision_reaches_the_next_task(
    form: ApprovalForm | None,
    respond: Callable[[], None],
    expected: dict[str, Any] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = {
        "name": "approval",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(ROOT / "tests/dags/bundle")},
    }
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([bundle]))
    monkeypatch.setattr("include.training.release.approval.approval_form", lambda *arguments: form)
    monkeypatch.setattr("include.training.release.publish.publish_model", lambda *arguments: None)
    # dag.test() sleeps for a second while a task waits for a response.
    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: respond() if seconds == 1 else sleep(seconds))
    from tests.dags.bundle.approval import approval

    run = approval().test()

    assert str(run.state) == "success"
    assert returned_by("decide", run.run_id) == expected


def test_approval_of_another_version_is_refused() -> None:
    from airflow.sdk.exceptions import AirflowFailException

    from dags.wiring.approval import PromotionApproval

    task: Any = PromotionApproval(task_id="approve_promotion", hours=1, version="8")
    answered = {"responded_at": dt.datetime.now(dt.UTC), "responded_by_user": {"id": "eva", "name": "Eva"}}
    with pytest.raises(AirflowFailException, match="not about version 8"):
        task.execute_complete({}, answered | {"chosen_options": ["Approve version 7"], "params_input": {}})


@pytest.mark.parametrize("approval", ["none", "required"])
def test_training_requests_an_approval_if_the_project_requires_it(
    approval: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = load_project("grocery").model_dump()
    content["training"]["promotion"] |= {"approval": approval, "approval_hours": 0.5}
    project = Project.model_validate(content)
    monkeypatch.setattr("include.projects.load_project", lambda name: project)
    from dags.churn_train import churn_train

    training = churn_train()
    decide = training.get_task("decide_promotion")
    if approval == "none":
        assert decide.upstream_task_ids == {"read_result"}
    else:
        task = training.get_task("approve_promotion")
        assert decide.upstream_task_ids == {"read_result", "approve_promotion"}
        assert task.upstream_task_ids == {"read_result"}
        assert task.response_timeout == dt.timedelta(minutes=30)
        assert task.execution_timeout  # of each process of the task, not of the wait


def returned_by(task_id: str, run_id: str) -> Any:
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        stored = XComModel.get_many(run_id=run_id, key="return_value", dag_ids="approval", task_ids=task_id)
        return session.scalar(stored.with_only_columns(XComModel.value))
