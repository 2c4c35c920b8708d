"""Gate 4: each check reads dashboards, alert rules, monitoring results, messages, or the record of a drill."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from include.days import DayRange
from include.drills import RESTORE, DrillError, DrillRecord, write_drill
from include.lake.table_names import MESSAGES_TABLE, SCORES_TABLE
from include.monitoring.alerts import Addresses, Message
from include.monitoring.message_store import MessageStore
from include.monitoring.messages import LogOnly, send_messages
from include.monitoring.results import write_result
from include.monitoring.slack import Delivered, SlackUnavailableError
from include.readiness.system import NotReadyError, System
from include.serving.deployment.client import UnavailableError
from tests.monitoring.results import monitoring_result
from tests.readiness.conftest import NOW, edit, endpoint, examine, with_root

DAY = dt.date(2017, 12, 1)


def test_dashboards_need_the_metrics_of_the_endpoint(system: System, product: Path) -> None:
    with pytest.raises(UnavailableError, match="returned no metrics"):
        examine(system, "dashboards")
    with endpoint(with_root(system, product), "1") as running:
        found = examine(running, "dashboards")
        assert found.passed
        assert "ML Model Performance (16 panels)" in found.text
        assert "3 requests failed" in found.text
        for file in (product / "docker/grafana/dashboards").iterdir():
            file.unlink()
        assert not examine(running, "dashboards").passed
        (product / "docker/prometheus/rules.yml").unlink()
        with pytest.raises(NotReadyError, match="rules"):
            examine(running, "dashboards")


def write_list(system: System, day: dt.date) -> None:
    rows = pa.table({"dt": pa.array([day], pa.date32()), "customer_id": ["1"]})
    system.lake.table(SCORES_TABLE).replace(DayRange.single(day), rows)


def monitor(system: System, day: dt.date, **parts: object) -> None:
    write_result(system.settings.reports_dir, day, monitoring_result(day, system.settings.project, **parts))


def test_newest_list_must_be_monitored(system: System) -> None:
    assert "No day has been scored" in examine(system, "drift_monitoring").text
    write_list(system, DAY)
    assert "no day has been monitored" in examine(system, "drift_monitoring").text
    monitor(system, DAY)
    found = examine(system, "drift_monitoring")
    assert found.passed
    assert found.figure == "severity 0.4"
    write_list(system, DAY + dt.timedelta(days=1))
    assert "the newest monitored day is 2017-12-01" in examine(system, "drift_monitoring").text


class Slack:
    def deliver(self, key: str, message: Message, thread: Delivered | None, *, uncertain: bool) -> Delivered:
        return Delivered("webhook")

    def edit(self, key: str, place: Delivered, message: Message) -> None:
        raise AssertionError


class Outage(Slack):
    def deliver(self, key: str, message: Message, thread: Delivered | None, *, uncertain: bool) -> Delivered:
        raise SlackUnavailableError("No answer.", where="Slack", remedy="Wait.")


def store_message(system: System, key: str) -> None:
    MessageStore(system.settings).add(DAY, {key: (None, Message("churn_score failed"))})


def test_newest_message_must_reach_slack(system: System) -> None:
    assert "No message has been sent" in examine(system, "alerts").text
    store_message(system, "first")
    send_messages(system.settings, Outage(), Addresses())
    assert "1 message could not be sent" in examine(system, "alerts").text
    send_messages(system.settings, Slack(), Addresses())
    found = examine(system, "alerts")
    assert found.passed
    assert found.figure == "1 of 1 message"
    assert found.time == system.lake.table(MESSAGES_TABLE).written_at()
    store_message(system, "second")
    send_messages(system.settings, LogOnly(), Addresses())
    assert "only written to the log" in examine(system, "alerts").text


def test_newest_monitored_day_must_have_a_decision_on_retraining(system: System) -> None:
    assert not examine(system, "retraining").passed
    monitor(system, DAY, retrain_reason="decay: AUC 0.6")
    assert examine(system, "retraining").figure == "requested"
    monitor(system, DAY + dt.timedelta(days=1), retrain_refusal="There is neither drift nor decay.")
    found = examine(system, "retraining")
    assert found.passed
    assert "There is neither drift nor decay. The last request is of 2017-12-01." in found.text
    monitor(system, DAY + dt.timedelta(days=2))
    assert not examine(system, "retraining").passed


@pytest.mark.parametrize(
    ("file", "section", "missing"),
    [
        ("docs/monitoring.md", "### GoldStale", "GoldStale"),
        ("docs/runbook.md", "## Decay", "decay"),
        ("docs/runbook.md", "## Failed run", "failed run"),
    ],
)
def test_each_alert_and_message_must_have_a_section(
    system: System, product: Path, file: str, section: str, missing: str
) -> None:
    copy = with_root(system, product)
    assert examine(copy, "runbook").passed
    edit(product / file, lambda text: text.replace(f"{section}\n", f"{section} removed\n"))
    found = examine(copy, "runbook")
    assert not found.passed
    assert f"no section for {missing}." in found.text


def test_last_restore_must_have_succeeded(system: System) -> None:
    assert "No restore is recorded" in examine(system, "restore_drill").text
    for passed in (True, False):
        record = DrillRecord(drill=RESTORE, carried_out=NOW, passed=passed, figures={"seconds": 41, "tables": 20})
        path = write_drill(system.settings.home, record)
        found = examine(system, "restore_drill")
        assert (found.passed, found.time, found.figure) == (passed, NOW, "seconds 41, tables 20")
    path.write_text("{")
    with pytest.raises(DrillError, match="not the record of a drill"):
        examine(system, "restore_drill")
