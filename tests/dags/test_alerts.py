"""The wiring of messages: Slack from Airflow's connections, and the message of a failed run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.slack_receiver import CHANNEL, TOKEN, SlackReceiver, receiving
from include.settings import ROOT

pytestmark = pytest.mark.slow  # each program is a process that imports Airflow

# Airflow reads the connections from the environment.
FAIL = """
import datetime as dt
from types import SimpleNamespace

from airflow.sdk.execution_time import task_runner

from dags.wiring import alerts

task_runner.SUPERVISOR_COMMS = None
alerts._failures = lambda dag, run_id: {"build_silver_and_gold": "The file <a & b> is empty.", "tune_0": None}
for clear_number in (0, 0, 1):
    run = SimpleNamespace(run_after=dt.datetime(2018, 1, 1), clear_number=clear_number)
    dag = SimpleNamespace(dag_id="churn_ingest")
    alerts.alert_failed_run({"dag": dag, "run_id": "manual__1", "dag_run": run, "reason": "task_failure"})
print(alerts.send_waiting())
"""
RECORD = """
from types import SimpleNamespace

from airflow.sdk.exceptions import AirflowFailException

from dags.wiring.alerts import record_error
from dags.wiring.slack import destination
from include.errors import ChurnflowError
from include.settings import AlertSettings

ours = ChurnflowError("The file is empty.", where="x.csv", remedy="Deliver it again.")
for error in (ours, AirflowFailException("The data set is damaged."), ValueError("jane@example.com"), None):
    record_error({"ti": SimpleNamespace(xcom_push=print), "exception": error})
print(type(destination(AlertSettings(slack_conn_id="absent"))).__name__)
print(destination(AlertSettings(slack_conn_id="slack_churn")).url)
try:
    destination(AlertSettings(slack_conn_id="bot"))
except ChurnflowError as error:
    print(error)
"""


@pytest.fixture
def slack() -> Iterator[SlackReceiver]:
    with receiving(["429", "500"]) as receiver:
        yield receiver


def run(home: Path, program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "CHURN"))}
    places = {"AIRFLOW_HOME": str(home), "CHURN_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=inherited | places | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def test_failed_run_sends_one_message_through_the_bot(slack: SlackReceiver, tmp_path: Path) -> None:
    bot = {"conn_type": "slack", "password": TOKEN, "extra": {"base_url": slack.api}}
    done = run(
        tmp_path, FAIL, AIRFLOW_CONN_SLACK_CHURN=json.dumps(bot), CHURN_ALERTS__SLACK_CHANNEL=CHANNEL,
        AIRFLOW__API__BASE_URL="https://airflow.example.com/",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = slack.texts
    assert first == second, "a run that is cleared and fails again sends another message"
    assert "The file \u2039a & b\u203a is empty." in first
    assert "tune_0: The process of the task was killed" in first
    assert "<https://airflow.example.com/dags/churn_ingest/runs/manual__1|Log>" in first
    assert done.stdout.splitlines()[-1] == "{'sent': 0, 'waiting': 0}"
    assert (done.stdout + done.stderr).count("Message: churn_ingest failed: build_silver_and_gold, tune_0") == 2
    assert TOKEN not in done.stdout + done.stderr


def test_only_texts_of_the_product_are_recorded_and_the_connection_is_the_destination(tmp_path: Path) -> None:
    webhook = {"conn_type": "slackwebhook", "host": "http://h/services", "password": "T/B/X12345"}
    done = run(
        tmp_path,
        RECORD,
        AIRFLOW_CONN_SLACK_CHURN=json.dumps(webhook),
        AIRFLOW_CONN_BOT=json.dumps({"conn_type": "slack", "password": TOKEN}),
    )
    assert done.returncode == 0, done.stderr
    *recorded, absent, url, no_channel = done.stdout.splitlines()[-6:]
    assert recorded == [
        "error The file is empty. Where: x.csv. Remedy: Deliver it again.",
        "error The data set is damaged.",
        "error ValueError; see the task's log.",
    ]
    assert absent == "LogOnly"
    assert url == "http://h/services/T/B/X12345"
    assert "CHURN_ALERTS__SLACK_CHANNEL" in no_channel
