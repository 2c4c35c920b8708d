"""The deadline of the retention list, as Airflow's scheduler computes it, and the message about a late list."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
import sqlalchemy as sa

from include.lake import open_lake
from include.monitoring.messages import LogOnly, MessageStore
from include.settings import Settings, get_settings

pytestmark = pytest.mark.airflow

ZONE = "Pacific/Auckland"
DAY = dt.date(2017, 12, 1)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("CHURN_HOME", str(tmp_path))
    monkeypatch.setenv("CHURN_SCHEDULE", "daily")
    monkeypatch.setenv("CHURN_TASKS__LIST_BY", "06:30")
    get_settings.cache_clear()
    yield get_settings()
    get_settings.cache_clear()


@pytest.fixture
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> MessageStore:
    from dags.wiring import slack

    monkeypatch.setattr(slack, "destination", lambda alerts: LogOnly())
    return MessageStore(settings)


def _deadline(partition_key: str | None) -> dt.datetime | None:
    """Return the deadline of a run, from the reference as Airflow stores it."""
    from airflow.models import DagRun
    from airflow.serialization.decoders import decode_deadline_reference
    from airflow.serialization.encoders import encode_deadline_reference
    from airflow.utils.session import create_session

    from dags.wiring.deadline import ListDue

    reference = decode_deadline_reference(encode_deadline_reference(ListDue("06:30", ZONE)))
    with create_session() as session:
        run = {"dag_id": "churn_ingest", "run_id": f"of {partition_key}", "run_type": "scheduled"}
        now = dt.datetime.now(dt.UTC)
        session.execute(sa.insert(DagRun.__table__).values(**run, run_after=now, partition_key=partition_key))
        found: dt.datetime | None = reference.evaluate_with(
            session=session, interval=dt.timedelta(0), dag_id=run["dag_id"], run_id=run["run_id"]
        )
        session.rollback()
    return found


def _report(dag_id: str, table: str) -> None:
    from dags.wiring.deadline import alert_late_list

    run = {"dag_id": dag_id, "dag_run_id": "scheduled__1", "partition_key": str(DAY), "state": "running"}
    alert_late_list({"dag_run": run}, table)


@pytest.mark.usefixtures("airflow_database")
def test_deadline_is_on_the_day_after_that_of_the_run() -> None:
    today = dt.datetime.now(ZoneInfo(ZONE)).date()
    due = dt.datetime.combine(today + dt.timedelta(days=1), dt.time(6, 30), ZoneInfo(ZONE))
    assert _deadline(f"{today}") == due
    assert _deadline(f"{today}T00:00:00") == due


@pytest.mark.usefixtures("airflow_database")
@pytest.mark.parametrize("key", [None, "2017-12-01"])
def test_run_without_a_day_or_after_its_deadline_has_none(key: str | None) -> None:
    assert _deadline(key) is None


@pytest.mark.parametrize(("schedule", "deadlines"), [("off", set()), ("daily", {"churn_ingest", "churn_score"})])
def test_only_a_daily_schedule_has_deadlines(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, schedule: str, deadlines: set[str]
) -> None:
    from airflow.dag_processing.dagbag import DagBag

    from include.settings import ROOT

    monkeypatch.setenv("CHURN_SCHEDULE", schedule)
    get_settings.cache_clear()
    bags = [DagBag(str(ROOT / "dags" / f"churn_{name}.py")) for name in ("ingest", "score", "train")]
    assert {dag_id for bag in bags for dag_id, dag in bag.dags.items() if dag.deadline} == deadlines


def test_one_message_for_a_day_without_a_list(store: MessageStore) -> None:
    _report("churn_ingest", "gold/features")
    _report("churn_score", "gold/scores")
    (message,) = store.read()
    assert message.message.title == "grocery: no retention list of 2017-12-01 by 06:30"
    assert "churn_ingest has not written gold/features" in message.message.text


def test_no_message_if_the_day_was_written(settings: Settings, store: MessageStore) -> None:
    open_lake(settings).table("gold/scores").replace([DAY], pa.table({"dt": pa.array([DAY], pa.date32()), "row": [1]}))
    _report("churn_score", "gold/scores")
    assert store.read() == []
