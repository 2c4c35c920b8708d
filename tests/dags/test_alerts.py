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

from include.settings import ROOT

pytestmark = pytest.mark.slow  # each alert is a process that imports Airflow

SEND = """
from types import SimpleNamespace
from dags.wiring.alerts import alert_failure
from include.errors import ChurnflowError
ti = SimpleNamespace(dag_id="churn_ingest", task_id="build_silver_and_gold", log_url="http://127.0.0.1/log")
alert_failure({"ti": ti, "run_id": "manual__1", "exception": %s})
"""
OUR_ERROR = 'ChurnflowError("The file <a & b> is empty.", where="x.csv", remedy="Deliver it again.")'


class Receiver(BaseHTTPRequestHandler):
    bodies: list[dict[str, Any]]

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Keep the test's output short."""


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    bodies: list[dict[str, Any]] = []
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (Receiver,), {"bodies": bodies}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/services", bodies
    server.shutdown()
    thread.join()
    server.server_close()


def send(home: Path, error: str, **environment: str) -> str:
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "CHURN"))}
    done = subprocess.run(
        [sys.executable, "-c", SEND % error],
        cwd=ROOT,
        env=variables | {"AIRFLOW_HOME": str(home), "NO_PROXY": "127.0.0.1"} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout + done.stderr


def test_alert_is_sent_through_the_slack_connection(receiver: tuple[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    url, bodies = receiver
    connection = json.dumps({"conn_type": "slackwebhook", "host": url, "password": "T/B/X"})
    send(tmp_path, OUR_ERROR, AIRFLOW_CONN_SLACK_CHURN=connection)
    (body,) = bodies
    assert body["text"].startswith("Task churn_ingest.build_silver_and_gold failed")
    details = body["blocks"][1]["text"]["text"]
    assert "The file &lt;a &amp; b&gt; is empty." in details
    assert "Deliver it again." in details


def test_alert_without_connection_is_one_log_line(tmp_path: Path) -> None:
    output = send(tmp_path, OUR_ERROR)
    (line,) = [line for line in output.splitlines() if "build_silver_and_gold" in line]
    assert "no connection 'slack_churn'" in line
    assert "The file <a & b> is empty." in line


def test_text_of_unknown_error_is_not_sent(tmp_path: Path) -> None:
    output = send(tmp_path, 'ValueError("jane@example.com")')
    assert "ValueError; see the task's log." in output
    assert "jane" not in output
