"""Alerts to Slack and to the log. Each runs in a process, since Airflow reads its connections from the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from include.monitoring.alerts import run_failure
from include.settings import ROOT

pytestmark = pytest.mark.slow  # each alert is a process that imports Airflow

SEND = """
from dags.wiring.alerts import deliver
from include.monitoring.alerts import run_failure
errors = {"build_silver_and_gold": "The file <a & b> is empty. Remedy: Deliver it again.", "tune_0": None}
deliver(run_failure("churn_ingest", "manual__1", errors, "task_failure", "http://127.0.0.1/run"))
"""
RECORD = """
from types import SimpleNamespace
from airflow.sdk.exceptions import AirflowFailException
from dags.wiring.alerts import record_error
from include.errors import ChurnflowError
ours = ChurnflowError("The file is empty.", where="x.csv", remedy="Deliver it again.")
for error in (ours, AirflowFailException("The data set is damaged."), ValueError("jane@example.com"), None):
    record_error({"ti": SimpleNamespace(xcom_push=print), "exception": error})
"""


class Receiver(BaseHTTPRequestHandler):
    """A receiver that answers with the given statuses, then with 200."""

    bodies: list[dict[str, Any]]
    statuses: list[int]

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status = self.statuses.pop(0) if self.statuses else 200
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(b"ok" if status == 200 else b"")

    def log_message(self, *_: object) -> None:
        """Keep the test's output short."""


@pytest.fixture
def receiver() -> Iterator[type[Receiver]]:
    handler = type("Handler", (Receiver,), {"bodies": [], "statuses": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    handler.connection_url = f"http://127.0.0.1:{server.server_port}/services"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def run(home: Path, program: str, receiver: type[Any] | None = None) -> subprocess.CompletedProcess[str]:
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "CHURN"))}
    if receiver is not None:
        slack = {"conn_type": "slackwebhook", "host": receiver.connection_url, "password": "T/B/X"}
        variables["AIRFLOW_CONN_SLACK_CHURN"] = json.dumps(slack)
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=variables | {"AIRFLOW_HOME": str(home), "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("statuses", [[], [429, 500]], ids=["first try", "after a rate limit and an error"])
def test_alert_is_sent_through_the_slack_connection(receiver: type[Any], tmp_path: Path, statuses: list[int]) -> None:
    receiver.statuses = list(statuses)
    done = run(tmp_path, SEND, receiver)
    assert done.returncode == 0, done.stderr
    assert len(receiver.bodies) == len(statuses) + 1
    body = receiver.bodies[-1]
    assert body["text"].startswith("churn_ingest failed: build_silver_and_gold, tune_0")
    details = body["blocks"][1]["text"]["text"]
    assert "The file &lt;a &amp; b&gt; is empty." in details
    assert "tune_0: The process of the task was killed" in details


def test_text_of_an_alert_that_slack_refuses_is_in_the_log(receiver: type[Any], tmp_path: Path) -> None:
    receiver.statuses = [403]
    done = run(tmp_path, SEND, receiver)
    assert done.returncode == 1, "send must raise the error"
    assert "Alert: churn_ingest failed" in done.stdout + done.stderr
    assert len(receiver.bodies) == 1


def test_alert_without_connection_is_one_log_line(tmp_path: Path) -> None:
    done = run(tmp_path, SEND)
    lines = (done.stdout + done.stderr).splitlines()
    (line,) = [line for line in lines if "build_silver_and_gold" in line]
    assert "The file <a & b> is empty." in line
    assert any("no connection 'slack_churn'" in line for line in lines)


def test_only_texts_of_the_product_are_recorded(tmp_path: Path) -> None:
    done = run(tmp_path, RECORD)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-3:] == [
        "error The file is empty. Where: x.csv. Remedy: Deliver it again.",
        "error The data set is damaged.",
        "error ValueError; see the task's log.",
    ]


def test_alert_of_a_run_without_a_failed_task_states_the_reason() -> None:
    assert "Reason: timed_out" in run_failure("churn_score", "r", {}, "timed_out", "http://airflow").text
