"""The approval of a promotion as an Airflow task: a person's decision, no response in time, and nothing to decide."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

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
    """Respond as the API does for a person."""
    from airflow.api_fastapi.core_api.datamodels.hitl import UpdateHITLDetailPayload
    from airflow.api_fastapi.core_api.routes.public.hitl import update_hitl_detail
    from airflow.utils.session import create_session

    with create_session() as session:
        update_hitl_detail(
            dag_id="approval",
            dag_run_id=waiting_task(session).run_id,
            task_id="approve_promotion",
            update_hitl_detail_payload=UpdateHITLDetailPayload(chosen_options=[option], params_input={}),
            user=SimpleNamespace(get_id=lambda: "eva", get_name=lambda: "Eva"),
            session=session,
        )


def time_passes() -> None:
    """Let the scheduler find that the time for a response has passed."""
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.utils import timezone
    from airflow.utils.session import create_session

    with create_session() as session:
        task = waiting_task(session)
        assert 3000 < (task.trigger_timeout - timezone.utcnow()).total_seconds() <= 3600
        task.trigger_timeout = timezone.utcnow()
    SchedulerJobRunner(Job()).check_awaiting_input_timeouts()


def no_one_is_asked() -> None:
    raise AssertionError("The task waits.")


@pytest.mark.parametrize(
    ("form", "respond", "expected"),
    [
        (FORM, lambda: person_responds("Approve"), {"approved": True, "by": "Eva"}),
        (FORM, lambda: person_responds("Reject"), {"approved": False, "by": "Eva"}),
        (FORM, time_passes, {"approved": False, "by": None}),
        (None, no_one_is_asked, None),
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
    (decided,) = [task for task in run.get_task_instances() if task.task_id == "decide"]
    assert decided.xcom_pull(task_ids="decide", session=None) == expected
