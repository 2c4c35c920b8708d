from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from benchmarks.local_stack import free_ports
from include.days import DayRange
from include.settings import ROOT, ServingSettings, Settings
from local.client import AirflowClient
from local.demo import HISTORY, Demo, DemoError, run_demo
from local.environment import LocalPorts
from local.stack import Stack
from local.supervision import wait_until
from tests.local.airflow_server import AirflowServer, run_item, task_item
from tests.postgres import postgres_folder

DAGS = ("churn_ingest", "churn_score")
Frame = tuple[list[dict[str, Any]], list[dict[str, Any]]]


@pytest.fixture
def output() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def demo(airflow: AirflowServer, client: AirflowClient, output: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Demo:
    monkeypatch.setattr("local.demo._POLL_SECONDS", 0.01)
    airflow.paused = dict.fromkeys(
        ("churn_ingest", "churn_train", "churn_deploy", "churn_score", "churn_monitor"), False
    )
    airflow.assets = [
        {
            "producing_tasks": [{"dag_id": "churn_ingest", "task_id": "build_silver_and_gold"}],
            "scheduled_dags": [{"dag_id": "churn_score"}],
        }
    ]
    return Demo(client, Console(file=output), time.monotonic() + 60)


def ingesting() -> Frame:
    return [run_item("churn_ingest", "running")], [
        task_item("churn_ingest", "build_silver_and_gold", "running", ended=None)
    ]


def ingested() -> Frame:
    return [run_item("churn_ingest")], [task_item("churn_ingest", "build_silver_and_gold", ended=5)]


def scored(state: str = "success") -> Frame:
    runs, tasks = ingested()
    score = [task_item("churn_score", name, state, run=6, ended=9) for name in ("find_model", "score_customers")]
    return [*runs, run_item("churn_score", created=6)], [*tasks, *score]


def test_run_waits_for_the_triggered_runs(airflow: AirflowServer, demo: Demo, output: io.StringIO) -> None:
    airflow.frames = [ingesting(), ingested(), ingested(), scored()]
    demo.run(HISTORY, DAGS)
    assert airflow.triggered[0]["conf"] == {"from_day": "2017-01-01", "to_day": "2017-12-17"}
    assert airflow.triggered[0]["partition_key"] == "2017-12-17"
    assert [text.split(" ", 1)[1] for text in output.getvalue().splitlines()] == [
        "churn_ingest.build_silver_and_gold running",
        "churn_ingest.build_silver_and_gold success (5 s)",
        "churn_score.find_model success (9 s)",
        "churn_score.score_customers success (9 s)",
    ]


def test_failed_task_ends_the_demo_and_prints_its_log(airflow: AirflowServer, demo: Demo, output: io.StringIO) -> None:
    airflow.frames = [
        ([run_item("churn_ingest", "running")], [task_item("churn_ingest", "build_silver_and_gold", "failed")])
    ]
    airflow.log = [{"event": f"line {number}"} for number in range(40)]
    with pytest.raises(DemoError, match=r"churn_ingest\.build_silver_and_gold ended in state failed"):
        demo.run(HISTORY, DAGS)
    assert "line 10\n" in output.getvalue()
    assert "line 9\n" not in output.getvalue()
    assert output.getvalue().endswith("line 39\n")


def test_time_limit_error_names_the_pending_runs(airflow: AirflowServer, client: AirflowClient, demo: Demo) -> None:
    airflow.frames = [ingested()]
    with pytest.raises(
        DemoError, match=r"churn_score of 2017-12-17 \(triggered by churn_ingest.build_silver_and_gold\)"
    ):
        Demo(client, Console(file=io.StringIO()), time.monotonic()).run(HISTORY, DAGS)


def test_missing_scoring_run_is_an_error(airflow: AirflowServer, demo: Demo) -> None:
    airflow.frames = [scored("skipped")]
    with pytest.raises(DemoError, match=r"without a complete run of churn_score. Skipped: churn_score.find_model"):
        demo.run(DayRange.parse("2017-12-17", "2017-12-17"), DAGS)


def test_prepare_unpauses_dags(airflow: AirflowServer, demo: Demo) -> None:
    airflow.paused["churn_train"] = True
    demo.prepare()
    assert not any(airflow.paused.values())


def test_prepare_reports_import_errors(airflow: AirflowServer, client: AirflowClient, demo: Demo) -> None:
    del airflow.paused["churn_monitor"]
    airflow.import_errors = [{"filename": "churn_monitor.py", "stack_trace": "Traceback\nImportError: no drift"}]
    with pytest.raises(DemoError, match=r"not find churn_monitor\. churn_monitor.py cannot .*ImportError: no drift"):
        Demo(client, Console(file=io.StringIO()), time.monotonic()).prepare()


def test_unfinished_runs_of_an_interrupted_demo_are_failed(airflow: AirflowServer, demo: Demo) -> None:
    airflow.frames = [([run_item("churn_ingest", "running"), run_item("churn_train", "success", created=1)], [])]
    demo.fail_unfinished_runs()
    assert airflow.ended == ["run+0"]


def test_demo_that_cannot_start_prints_the_reason_and_a_result(
    tmp_path: Path, airflow: AirflowServer, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = int(airflow.url.rsplit(":", 1)[1])
    mlflow, serving = free_ports(2)
    settings = Settings(home=tmp_path, serving=ServingSettings(port=serving))
    stack = Stack(settings, LocalPorts(airflow_port=taken, mlflow_port=mlflow))
    assert run_demo(stack, keep=True) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"Port {taken} is in use by another process.")
    figures = json.loads(lines[-1])
    assert figures.pop("seconds") >= 0
    assert figures == {
        "ok": False,
        "auc": None,
        "pr_auc": None,
        "rows": None,
        "quarantined": None,
        "prediction": None,
        "drift": None,
    }


@pytest.fixture
def home() -> Iterator[Path]:
    with postgres_folder() as folder:
        yield folder


@pytest.mark.slow
def test_demo_interrupted_twice_leaves_no_process(home: Path) -> None:
    names = ("LOCAL_AIRFLOW_PORT", "LOCAL_MLFLOW_PORT", "SERVING__PORT")
    ports = {f"CHURN_{name}": str(port) for name, port in zip(names, free_ports(len(names)), strict=True)}
    environment = os.environ | ports | {"CHURN_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    demo = subprocess.Popen(
        [sys.executable, "-m", "local", "demo"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert demo.stdout is not None
    assert demo.stdout.readline() == "PostgreSQL is ready.\n"
    demo.send_signal(signal.SIGTERM)
    log = home / "stack" / "supervisord.log"
    assert wait_until(lambda: "waiting for postgres to die" in log.read_text(), 60, pause=0.01)
    demo.send_signal(signal.SIGINT)
    output = demo.stdout.read().splitlines()
    assert demo.wait() == 130
    assert "Interrupted." in output
    assert json.loads(output[-1])["ok"] is False
    assert [process.pid for process in psutil.process_iter() if str(home) in _command(process)] == []


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
