from __future__ import annotations

import datetime as dt

import pytest

from local.client import AirflowClient, ApiError, Link, Task
from tests.local.airflow_server import START, AirflowServer, run_item, task_item


def test_token_is_requested_once(airflow: AirflowServer, client: AirflowClient) -> None:
    assert client.dags() == client.dags() == {"churn_ingest": False}
    assert airflow.tokens == 1


def test_trigger_sends_the_partition_key_and_no_logical_date(airflow: AirflowServer, client: AirflowClient) -> None:
    run = client.trigger("churn_ingest", "2017-12-17", {"to_day": "2017-12-17"})
    assert airflow.triggered == [
        {"logical_date": None, "partition_key": "2017-12-17", "conf": {"to_day": "2017-12-17"}}
    ]
    assert (run.dag_id, run.partition_key, run.state, run.created) == ("churn_ingest", "2017-12-17", "queued", START)


def test_error_response_is_reported_with_reason_and_url(airflow: AirflowServer, client: AirflowClient) -> None:
    with pytest.raises(ApiError, match="404: Dag with dag_id: 'unknown' not found") as caught:
        client.trigger("unknown", "2017-12-17", {})
    assert caught.value.where == f"POST {airflow.url}/api/v2/dags/unknown/dagRuns"


def test_dropped_connection_is_retried(airflow: AirflowServer, client: AirflowClient) -> None:
    airflow.drop_connections = 2
    assert client.dags() == {"churn_ingest": False}


def test_trigger_is_not_repeated_after_a_dropped_connection(airflow: AirflowServer, client: AirflowClient) -> None:
    client.dags()
    airflow.drop_connections = 1
    with pytest.raises(ApiError, match="does not respond"):
        client.trigger("churn_ingest", "2017-12-17", {})
    assert airflow.triggered == []


def test_server_error_is_retried(airflow: AirflowServer, client: AirflowClient) -> None:
    airflow.paused["churn_ingest"] = True
    client.dags()
    airflow.server_errors = 2
    client.unpause("churn_ingest")
    assert airflow.paused == {"churn_ingest": False}


def test_trigger_is_not_repeated_after_a_server_error(airflow: AirflowServer, client: AirflowClient) -> None:
    client.dags()
    airflow.server_errors = 1
    with pytest.raises(ApiError, match="500: deadlock detected"):
        client.trigger("churn_ingest", "2017-12-17", {})
    assert airflow.triggered == []


def test_lasting_server_error_is_reported(airflow: AirflowServer) -> None:
    client = AirflowClient(airflow.url, attempts=2)
    airflow.server_errors = 100
    with pytest.raises(ApiError, match="500: deadlock detected"):
        client.dags()
    client.close()


def test_unreachable_server_is_an_error(airflow: AirflowServer) -> None:
    airflow.close()
    client = AirflowClient(airflow.url, attempts=2)
    with pytest.raises(ApiError, match=r"does not respond \(ConnectError\)"):
        client.dags()


def test_snapshot_reads_all_pages_and_excludes_earlier_runs(airflow: AirflowServer, client: AirflowClient) -> None:
    runs = [run_item("churn_ingest", created=-5), run_item("churn_ingest", created=0)]
    tasks = [task_item("churn_ingest", f"task_{number}") for number in range(230)]
    airflow.frames = [(runs, [*tasks, task_item("churn_ingest", "old", run=-5)])]
    snapshot = client.snapshot(START)
    assert [run.created for run in snapshot.runs] == [START]
    assert [task.task_id for task in snapshot.tasks] == [f"task_{number}" for number in range(230)]


def test_task_has_try_number_duration_and_end(airflow: AirflowServer, client: AirflowClient) -> None:
    airflow.frames = [
        (
            [run_item("churn_train")],
            [
                task_item("churn_train", "train", "success", ended=34, attempt=2),
                task_item("churn_train", "read_result", None, ended=None, attempt=0),
                task_item("churn_train", "tune", map_index=1),
            ],
        )
    ]
    done, waiting, mapped = client.snapshot(START).tasks
    ended = START + dt.timedelta(seconds=34)
    assert done == Task(
        "churn_train",
        "run+0",
        "train",
        "success",
        attempt=2,
        seconds=34,
        ended=ended,
        instance_id="churn_train.train",
        hostname="worker-1",
    )
    assert (waiting.state, waiting.seconds, waiting.ended, waiting.hostname) == (None, None, None, "")
    assert (done.name, mapped.name) == ("train", "tune[1]")


def test_links_combine_all_producers_and_consumers(airflow: AirflowServer, client: AirflowClient) -> None:
    airflow.assets = [
        {
            "producing_tasks": [{"dag_id": "a", "task_id": "t"}, {"dag_id": "b", "task_id": "u"}],
            "scheduled_dags": [{"dag_id": "c"}],
        },
        {"producing_tasks": [{"dag_id": "c", "task_id": "v"}], "scheduled_dags": []},
    ]
    assert client.links() == [Link("a", "t", "c"), Link("b", "u", "c")]


def test_log_tail_ends_with_the_exception(airflow: AirflowServer, client: AirflowClient) -> None:
    airflow.log = [
        {"event": "one"},
        {"event": "two\nthree"},
        {"event": "::endgroup::"},
        {
            "event": "Task failed",
            "error_detail": [
                {
                    "exc_type": "GateError",
                    "exc_value": "The gate is shut.",
                    "frames": [{"filename": "gate.py", "lineno": 83, "name": "require_open"}],
                }
            ],
        },
    ]
    task = Task("churn_ingest", "run+0", "load_bronze", "failed", 2, 3.0, START)
    assert client.task_log_tail(task, 4) == [
        "three",
        "Task failed",
        "  gate.py:83 in require_open",
        "GateError: The gate is shut.",
    ]
    airflow.log = ["plain", "lines"]
    assert client.task_log_tail(task) == ["plain", "lines"]


def test_unpaused_dag_is_not_paused(airflow: AirflowServer, client: AirflowClient) -> None:
    airflow.paused["churn_score"] = True
    client.unpause("churn_score")
    assert client.dags() == {"churn_ingest": False, "churn_score": False}


def test_unfinished_runs_can_be_marked_as_failed(airflow: AirflowServer, client: AirflowClient) -> None:
    airflow.frames = [
        ([run_item("churn_ingest", "running", created=-9), run_item("churn_ingest", "success", created=-8)], [])
    ]
    runs = client.unfinished_runs()
    assert [run.run_id for run in runs] == ["run+-9"]
    client.fail(runs[0])
    assert airflow.ended == ["run+-9"]
