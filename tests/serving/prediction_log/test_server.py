"""The answers of a real server equal the rows in the lake, after SIGTERM and after SIGKILL."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from include.lake import open_lake
from include.lake.table_names import PREDICTIONS_TABLE
from include.serving.deployment.state import BentoReference
from include.serving.prediction_log.collect import collect_predictions
from include.serving.prediction_log.segments import spool_folder
from include.settings import Settings
from include.training.model.bundle import Bundle
from tests.serving.conftest import synthetic_columns, train_bundle
from tests.serving.endpoint.servers import running

pytestmark = pytest.mark.slow

COLUMNS = synthetic_columns(300, seed=17)


def predict(http: httpx.Client, numbers: Iterable[int]) -> dict[str, dict[str, Any]]:
    """Send requests for customers, eight at a time, and return the answers by customer."""

    def one(number: int) -> dict[str, Any]:
        features = {name: values[number] for name, values in COLUMNS.items()}
        response = http.post("/predict", json={"customer_id": f"c{number}", "features": features})
        return dict(response.raise_for_status().json())

    with ThreadPoolExecutor(8) as threads:
        return {answer["customer_id"]: answer for answer in threads.map(one, numbers)}


def in_the_lake(settings: Settings) -> list[dict[str, Any]]:
    collect_predictions(settings)
    table = open_lake(settings).table(PREDICTIONS_TABLE)
    rows: list[dict[str, Any]] = table.read(table.days()).to_pylist()
    return rows


def as_answered(rows: list[dict[str, Any]]) -> dict[str, tuple[float, str, str]]:
    return {row["customer_id"]: (row["churn_probability"], row["prediction"], row["model_version"]) for row in rows}


def with_log(settings: Settings, **log: object) -> Settings:
    chosen = settings.serving.log.model_copy(update=log)
    return settings.model_copy(update={"serving": settings.serving.model_copy(update={"log": chosen})})


def kill_servers(home: Path) -> None:
    """Send SIGKILL to every server process below ``home``, parents first, so that no process is restarted."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("BENTOML_HOME", "").startswith(str(home)):
                found.append(process)
    for process in sorted(found, key=lambda one: one.create_time()):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(found, timeout=10)


def test_sigterm_writes_every_answer_and_its_shadow_score(
    bento: BentoReference,
    bundle: Bundle,
    make_settings: Callable[[], Settings],
    tmp_path: Path,
) -> None:
    shadow = train_bundle(seed=11)
    beside = BentoReference("8-abc", "8", str(tmp_path / "shadow"), bento.project)
    shadow.save(beside.bundle)
    # The interval is longer than the test, so predictions are written only when the log is closed.
    settings = with_log(make_settings(), flush_seconds=60)
    with running(bento, settings, beside) as server:
        answers = predict(server.http, range(300))
    expected, shadowed = bundle.predict(COLUMNS), shadow.predict(COLUMNS)
    rows = in_the_lake(settings)
    assert not list(spool_folder(settings).iterdir())
    assert len(rows) == 300
    assert as_answered(rows) == {
        customer: (answer["churn_probability"], answer["prediction"], "7") for customer, answer in answers.items()
    }
    for row in rows:
        number = int(row["customer_id"][1:])
        assert row["churn_probability"] == pytest.approx(float(expected[number]), abs=1e-6)
        assert row["shadow_probability"] == pytest.approx(float(shadowed[number]), abs=1e-6)
        assert (row["shadow_version"], row["shadow_prediction"]) == (
            "8",
            shadow.contract.decide(row["shadow_probability"]),
        )
        assert row["category_segment"] == COLUMNS["segment"][number]
    log = server.log.read_text()
    assert "shadow scores" in log
    assert '"c1' not in log


def test_server_ends_in_time_and_keeps_its_answers_while_delivery_and_a_request_hang(
    bento: BentoReference,
    make_settings: Callable[..., Settings],
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
) -> None:
    # The spool is on another disk than the destination, so that the uploader opens each segment instead of renaming it.
    spool = Path(tempfile.mkdtemp(dir="/dev/shm"))
    request.addfinalizer(lambda: shutil.rmtree(spool))
    settings = with_log(make_settings(limits={"receive_seconds": 60}), flush_seconds=60, spool=str(spool))
    # Opening a pipe without a writer blocks the uploader.
    hanging = spool / "2026-01-01.synthetic.7-abc.0.parquet"
    os.mkfifo(hanging)
    with running(bento, settings) as server:
        answers = predict(server.http, range(20))
        endless = socket.create_connection((settings.serving.host, settings.serving.port))
        endless.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert server.http.get("/health").status_code == 200
    assert "server killed" not in caplog.messages
    with endless:
        assert endless.recv(12) == b"HTTP/1.1 503"
    hanging.unlink()
    assert as_answered(in_the_lake(settings)).keys() == answers.keys()


def test_sigkill_loses_at_most_one_interval(bento: BentoReference, make_settings: Callable[[], Settings]) -> None:
    settings = with_log(make_settings(), flush_seconds=0.5)
    with running(bento, settings) as server:
        flushed = predict(server.http, range(100))
        wait_until_logged(server.http, len(flushed))
        late = predict(server.http, range(100, 200))
        kill_servers(settings.home)
    found = as_answered(in_the_lake(settings))
    given = {
        customer: (answer["churn_probability"], answer["prediction"], "7")
        for customer, answer in (flushed | late).items()
    }
    assert flushed.keys() <= found.keys() <= given.keys()
    assert found == {customer: given[customer] for customer in found}


@retry(retry=retry_if_result(lambda enough: not enough), stop=stop_after_delay(30), wait=wait_fixed(0.05))
def wait_until_logged(http: httpx.Client, rows: int) -> bool:
    families = text_string_to_metric_families(http.get("/metrics").text)
    counted = [
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "ml_prediction_log_rows_total"
    ]
    return sum(counted) == rows
