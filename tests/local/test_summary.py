from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xgboost as xgb
from rich.console import Console

from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE, SCORES_TABLE
from include.monitoring.results import ResultError, write_result
from include.serving.deployment.state import BentoReference
from include.settings import ServingSettings, Settings
from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract
from local.environment import LocalPorts
from local.stack import Stack
from local.summary import SummaryError, collect, render
from tests.http_servers import StubHandler, stub
from tests.monitoring.results import drifted_feature, monitoring_result
from tests.serving.servers import record_deployment
from tests.training.contracts import contract_of

DAY = dt.date(2017, 12, 18)


class Servers:
    """A stub of MLflow's registry and of the endpoint on one port."""

    port = 0

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {"auc": 0.85, "pr_auc": 0.41, "f1": 0.4}
        self.requests: list[dict[str, Any]] = []


@pytest.fixture
def servers() -> Iterator[Servers]:
    servers = Servers()

    class Handler(StubHandler):
        def respond(self) -> None:
            path, _, query = self.path.partition("?")
            if self.command == "POST":
                body = json.loads(self.body())
                servers.requests.append(body)
                self._answer({"customer_id": body["customer_id"], "churn_probability": 0.9, "prediction": "churn"})
            elif path.endswith("/registered-models/alias") and query == "name=churn-grocery&alias=champion":
                self._answer({"model_version": {"version": "3", "run_id": "r1"}})
            elif path.endswith("/runs/get") and query == "run_id=r1":
                metrics = [{"key": key, "value": value} for key, value in servers.metrics.items()]
                self._answer({"run": {"data": {"metrics": metrics}}})
            else:
                self._answer({"error_code": "RESOURCE_DOES_NOT_EXIST"}, 404)

        def _answer(self, body: dict[str, Any], status: int = 200) -> None:
            self.answer(json.dumps(body).encode(), status)

    with stub(Handler) as servers.port:
        yield servers


@pytest.fixture
def stack(tmp_path: Path, servers: Servers) -> Stack:
    settings = Settings(home=tmp_path, serving=ServingSettings(port=servers.port))
    _fill_lake(settings)
    _deploy(settings)
    drift = {"reason": "0 of 5 drifted.", "features": [drifted_feature("spend", 0.0)]}
    write_result(settings.reports_dir, DAY, monitoring_result(DAY, drift=drift))
    _touch(settings.reports_dir / "drift" / str(DAY) / "index.html")
    _touch(settings.reports_dir / "quality" / "2017-12-17" / "silver.html")
    return Stack(settings, LocalPorts(mlflow_port=servers.port))


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("<html/>")


def _fill_lake(settings: Settings) -> None:
    lake, day = open_lake(settings), DayRange.single(DAY)
    days = pa.array([DAY] * 3, pa.date32())
    features = {"dt": days, "customer_id": ["a", "b", "c"], "spend": [1.0, None, 3.0], "not_in_the_model": [0.0] * 3}
    lake.table(FEATURES_TABLE).replace(day, pa.table(features))
    scores = {"dt": days, "customer_id": ["b", "c", "a"], "rank": [1, 2, 3]}
    scores |= {"raises_risk": ["spend: none recorded", None, None], "lowers_risk": ["", None, None]}
    lake.table(SCORES_TABLE).replace(day, pa.table(scores))
    refused = {"dt": days[:2], "rules": ["unique_key", "price_not_negative"]}
    lake.table("quarantine/transactions").replace(day, pa.table(refused))
    lake.table("quarantine/coupons").replace(day, pa.table({"dt": days[:1], "rules": ["unique_key"]}))


def _deploy(settings: Settings) -> None:
    contract = contract_of(
        FeatureContract(name="spend", dtype="number", nullable=True),
        project="grocery",
        run_id="r1",
        trained_through=dt.date(2017, 11, 19),
    )
    data = xgb.DMatrix(np.array([[1.0], [2.0], [3.0], [4.0]]), label=[0, 0, 1, 1])
    bento = settings.serving_dir / "bento"
    Bundle(contract, xgb.train({"objective": "binary:logistic"}, data, 1)).save(bento / "src" / "bundle")
    record_deployment(settings.serving_dir, BentoReference("b1", "3", str(bento), settings.project))


def test_results_come_from_lake_registry_endpoint_and_monitoring(stack: Stack) -> None:
    assert collect(stack, DAY).as_dict() == {
        "auc": 0.85,
        "pr_auc": 0.41,
        "rows": {FEATURES_TABLE: 3, SCORES_TABLE: 3, "quarantine/coupons": 1, "quarantine/transactions": 2},
        "quarantined": 3,
        "prediction": {"customer_id": "b", "churn_probability": 0.9, "prediction": "churn"},
        "reasons": {"raises_risk": "spend: none recorded"},
        "drift": {k: v for k, v in monitoring_result(DAY)["drift"].items() if not isinstance(v, list)}
        | {"reason": "0 of 5 drifted."},
    }


def test_prediction_is_for_the_first_customer_of_the_list(stack: Stack, servers: Servers) -> None:
    collect(stack, DAY)
    assert servers.requests == [{"customer_id": "b", "features": {"spend": None}}]


def test_addresses_contain_all_parts_and_the_reports_of_the_day(stack: Stack, servers: Servers) -> None:
    reports = stack.settings.reports_dir
    assert collect(stack, DAY).addresses == {
        "Airflow": "http://127.0.0.1:8080",
        "MLflow": f"http://127.0.0.1:{servers.port}",
        "Endpoint": f"http://127.0.0.1:{servers.port}/predict",
        "Reports": str(reports),
        "drift/index": str(reports / "drift" / "2017-12-18" / "index.html"),
    }


def test_readable_summary_contains_all_results(stack: Stack) -> None:
    stream = io.StringIO()
    render(collect(stack, DAY), Console(file=stream, width=60))
    text = stream.getvalue()
    assert [FEATURES_TABLE, "3"] in [line.split() for line in text.splitlines()]
    assert "Quarantine   3 rows" in text
    assert "version 3, on the time-split test: auc 0.850  pr_auc 0.410  f1 0.400" in text
    assert "Raises risk  spend: none recorded" in text
    assert "Drift        no, on 2017-12-18: 0 of 5 drifted." in text
    assert "Airflow      http://127.0.0.1:8080" in text


def test_champion_without_metrics_is_an_error(stack: Stack, servers: Servers) -> None:
    del servers.metrics["pr_auc"]
    with pytest.raises(SummaryError, match="KeyError: 'pr_auc'"):
        collect(stack, DAY)


def test_missing_champion_is_an_error(stack: Stack) -> None:
    other = Stack(stack.settings.model_copy(update={"project": "other"}), stack.ports)
    with pytest.raises(SummaryError, match="404") as caught:
        collect(other, DAY)
    assert caught.value.where == f"churn-other at {stack.mlflow_url}"


def test_missing_retention_list_is_an_error(stack: Stack) -> None:
    with pytest.raises(SummaryError, match="no retention list"):
        collect(stack, dt.date(2017, 12, 19))


def test_missing_monitoring_result_is_an_error(stack: Stack) -> None:
    (stack.settings.reports_dir / "drift" / str(DAY) / "result.json").unlink()
    with pytest.raises(ResultError):
        collect(stack, DAY)
