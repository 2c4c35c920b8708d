"""The page *Model health*: its parts, what needs attention, and files that are missing or damaged."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import SCORES_TABLE
from include.monitoring.incidents import acknowledge, record_incidents
from include.monitoring.results import write_result
from include.projects import load_project
from include.readiness.results import CheckResult, GateResult, ReadinessResult, write_page, write_results
from include.settings import MlflowSettings, Settings, get_settings
from tests.http_servers import StubHandler, stub
from tests.monitoring.results import drifted_feature, monitoring_result, source_health
from tests.plugins.conftest import DAY, deploy

pytestmark = pytest.mark.airflow

HOSTILE = "<script>alert(1)</script>\"'<!channel>"
SHOWN = {
    "Serving model": "Version 7",
    "Retention list": "3 customers",
    "Newest monitoring result": "Drifted features of",
    "Monitored days": "Performance by scored day",
    "Incidents": "not acknowledged",
    "Trained models": '<section class="card" id="models">',
}
"""A text of each part of the page."""


class _Registry(StubHandler):
    address: ClassVar[str] = ""
    status: ClassVar[int] = 200
    aliases: ClassVar[dict[str, str]] = {}
    paths: ClassVar[list[str]] = []

    def respond(self) -> None:
        self.paths.append(f"{self.path} {self.headers.get('Authorization')}")
        aliases = [{"alias": name, "version": version} for name, version in self.aliases.items()]
        content = {"registered_model": {"name": "churn-grocery", "aliases": aliases}}
        self.answer(json.dumps(content).encode(), self.status)


@pytest.fixture
def registry() -> Iterator[type[_Registry]]:
    class Registry(_Registry):
        aliases: ClassVar[dict[str, str]] = {}
        paths: ClassVar[list[str]] = []

    with stub(Registry) as port:
        Registry.address = f"http://127.0.0.1:{port}"
        yield Registry


@pytest.fixture
def settings(tmp_path: Path, registry: type[_Registry]) -> Settings:
    return Settings(home=tmp_path, schedule="off", mlflow=MlflowSettings(tracking_uri=registry.address))


def _write_list(settings: Settings, day: dt.date, customers: int = 3) -> None:
    rows = pa.table({"dt": [day] * customers, "customer_id": [str(number) for number in range(customers)]})
    open_lake(settings).table(SCORES_TABLE).replace(DayRange.single(day), rows)


def _publish(settings: Settings, version: str, **parts: Any) -> None:
    folder = settings.reports_dir / "model" / version
    folder.mkdir(parents=True)
    (folder / "model_card.html").write_text("<p>card</p>")
    model = {"version": version, "trained_through": "2017-09-24", "metrics": {}, "decision": None} | parts
    (folder / "model.json").write_text(json.dumps(model))


def _record(settings: Settings, result: dict[str, Any]) -> None:
    write_result(settings.reports_dir, DAY, result)
    record_incidents(load_project(settings.project), settings, DAY)


@pytest.mark.parametrize("status", [404, 503])
def test_new_installation_states_what_to_run(reader: TestClient, registry: type[_Registry], status: int) -> None:
    registry.status = status
    page = reader.get("/churn/health").text
    assert ("No model serves, and no day has been monitored" in page) is (status == 404)
    assert "<strong>1 · Ingest</strong> loads" in page
    assert "schedule off: no run starts automatically" in page
    assert "There are no reports yet." in page
    assert "<svg" not in page


def test_deployment_without_problems_needs_no_attention(
    reader: TestClient, settings: Settings, monitored: dict[str, Any], registry: type[_Registry]
) -> None:
    registry.aliases |= {"champion": "7", "challenger": "8"}
    deploy(settings)
    _write_list(settings, DAY)
    write_result(settings.reports_dir, DAY, monitored)
    page = reader.get("/churn/health").text
    assert "Nothing needs attention" in page
    for shown in ("2017-12-01", "3 customers", "Version 7", "trained through 2017-09-24", "threshold 0.091"):
        assert shown in page
    for shown in ("0.841", "0.811 to 0.871, test 0.855", "scored 2017-10-28 to 2017-11-03", "not decayed"):
        assert shown in page
    assert "0.852" in page
    assert ">7, 8</p>" in page
    assert "spend_28d" in page
    assert "share &lt;b&gt;up&lt;/b&gt;" in page
    assert "no influence" not in page, "a feature with little influence is only in the heat map"
    assert page.count("<svg") == 5, "AUC, saving, and three features"


def test_open_incident_is_the_first_problem(reader: TestClient, settings: Settings, monitored: dict[str, Any]) -> None:
    _record(settings, monitored)
    page = reader.get("/churn/health").text
    assert "Drift of grocery since 2017-12-01 (open since" in page
    assert "not acknowledged" in page
    assert 'href="/churn/view/drift/2017-12-01/index.html"' in page
    assert "docs/runbook.md#drift" in page
    assert "Incident: drift" in page, "the charts show the incident"
    acknowledge(settings, HOSTILE)
    acknowledged = reader.get("/churn/health").text
    assert "not acknowledged" not in acknowledged
    assert "acknowledged by &lt;script&gt;" in acknowledged


def test_other_problems(reader: TestClient, settings: Settings, churn_app: FastAPI, registry: type[_Registry]) -> None:
    registry.aliases |= {"champion": "9"}
    deploy(settings)
    _write_list(settings, DAY + dt.timedelta(days=1))
    findings = [{"kind": "freshness", "text": "no rows for 9 days"}]
    sources = [source_health("transactions", DAY, findings=findings)]
    write_result(settings.reports_dir, DAY, monitoring_result(DAY, sources=sources))
    page = reader.get("/churn/health").text
    assert "3 problems need attention" in page
    assert "Source transactions: no rows for 9 days." in page
    assert "The list of 2017-12-02 has not been monitored; the newest monitored day is 2017-12-01." in page
    assert "The champion is version 9, but version 7 serves." in page
    daily = settings.model_copy(update={"schedule": "daily"})
    churn_app.dependency_overrides[get_settings] = lambda: daily
    assert "The list of 2017-12-03 was due at 2017-12-04 07:00 UTC." in reader.get("/churn/health").text


def test_models_link_their_cards(reader: TestClient, settings: Settings, monitored: dict[str, Any]) -> None:
    deploy(settings)
    write_result(settings.reports_dir, DAY, monitored)
    metrics = {"auc": {"value": 0.855, "low": 0.84, "high": 0.87}}
    _publish(settings, "7", metrics=metrics, decision={"promoted": True, "reason": "It saves more."})
    _publish(settings, "10", request_reason=f"decay {HOSTILE}", decision={"promoted": False, "reason": HOSTILE})
    page = reader.get("/churn/health").text
    assert page.index(">version 10</a>") < page.index(">version 7</a>"), "the newest version is first"
    assert 'href="/churn/view/model/7/model_card.html"' in page
    assert '0.855 <span class="soft">(0.840 to 0.870)</span>' in page
    assert "It saves more." in page
    assert "decay &lt;script&gt;" in page
    assert 'href="/churn/view/model/7/model_card.html"' in reader.get("/churn/reports").text


def test_runs_link_to_airflow(reader: TestClient, runs: None) -> None:
    page = reader.get("/churn/health").text
    assert 'href="/dags/churn_ingest/runs/manual__2017-12-01T00%3A00%3A00%2B00%3A00"' in page
    assert "1 · Ingest" in page
    assert "The last run of 1 · Ingest failed (day 2017-12-01)." in page
    assert "90 s" in page
    assert "other_dag" not in page


@pytest.fixture
def runs(airflow_database: None) -> Iterator[None]:
    from airflow.models.dag import DagModel
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    began = dt.datetime(2017, 12, 2, 0, 5, tzinfo=dt.UTC)
    with create_session() as session:
        session.merge(DagBundleModel(name="page"))
        session.flush()
        for dag_id, name in (("churn_ingest", "1 · Ingest"), ("other_dag", "other")):
            dag = DagModel(dag_id=dag_id, bundle_name="page", _dag_display_property_value=name, fileloc="")
            dag.is_stale = False
            session.merge(dag)
            session.flush()
            session.add(
                DagRun(
                    dag_id=dag_id,
                    run_id="manual__2017-12-01T00:00:00+00:00",
                    run_type=DagRunType.MANUAL,
                    state=DagRunState.FAILED,
                    run_after=began,
                    start_date=began,
                    partition_key="2017-12-01T00:00:00",
                    triggered_by=DagRunTriggeredByType.TEST,
                )
            )
        session.flush()
        for run in session.query(DagRun):
            run.end_date = began + dt.timedelta(seconds=90)
    yield
    with create_session() as session:
        for table in (DagRun, DagModel, DagBundleModel):
            session.query(table).delete()


def test_readiness_is_shown_with_a_link_to_its_page(reader: TestClient, settings: Settings) -> None:
    assert 'id="readiness"' not in reader.get("/churn/health").text
    check = CheckResult(
        name="load_test",
        title="The load test met the requirements",
        state="passed",
        evidence="p99",
        figure="p99 20.0 ms",
        time=None,
        link="",
        stale_after_days=30,
    )
    gates = {
        "3": GateResult(title="Production", checks=(check,)),
        "4": GateResult(title="Operations", checks=(check, check.model_copy(update={"state": "stale"}))),
    }
    checked = dt.datetime(2017, 12, 2, 6, tzinfo=dt.UTC)
    result = ReadinessResult(project="grocery", checked_at=checked, gates=gates)
    write_results(result, settings.reports_dir)
    write_page(result, settings.reports_dir)
    page = reader.get("/churn/health").text
    assert '<span class="pill good">1 of 1</span>' in page
    assert '<span class="pill bad">1 of 2</span>' in page
    assert 'href="/churn/view/readiness/index.html"' in page
    assert "The load test met the requirements" in reader.get("/churn/reports/readiness/index.html").text


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("reports/grocery/drift/2017-12-01/result.json", "Newest monitoring result"),
        ("reports/grocery/drift/2017-12-01/summary.json", "Monitored days"),
        ("reports/grocery/model/7/model.json", "Trained models"),
        ("serving/grocery/state.db", "Serving model"),
        ("lake/grocery/gold/scores/_delta_log/00000000000000000000.json", "Retention list"),
        ("lake/grocery/monitoring/incidents/_delta_log/00000000000000000000.json", "Incidents"),
    ],
)
def test_damaged_file_leaves_the_other_parts(
    reader: TestClient, settings: Settings, monitored: dict[str, Any], path: str, part: str
) -> None:
    deploy(settings)
    _write_list(settings, DAY)
    _record(settings, monitored)
    _publish(settings, "7")
    (settings.home / path).write_bytes(b"{" * 200)
    answer = reader.get("/churn/health")
    assert answer.status_code == 200
    assert f'<tr><td class="nowrap">{part}</td>' in answer.text, "the error is shown"
    assert {name for name, text in SHOWN.items() if text not in answer.text} == {part}


def test_result_of_an_earlier_release_leaves_the_other_parts(
    reader: TestClient, settings: Settings, monitored: dict[str, Any]
) -> None:
    _record(settings, monitored)
    del monitored["drift"]["features_day"]
    (settings.reports_dir / "drift" / str(DAY) / "result.json").write_text(json.dumps(monitored))
    answer = reader.get("/churn/health")
    assert answer.status_code == 200
    assert '<tr><td class="nowrap">Newest monitoring result</td>' in answer.text


@pytest.mark.parametrize("status", [404, 401, 503])
def test_registry_without_an_answer_leaves_the_other_parts(
    reader: TestClient, settings: Settings, registry: type[_Registry], status: int
) -> None:
    registry.status = status
    deploy(settings)
    page = reader.get("/churn/health").text
    assert "Version 7" in page
    assert ("The registry does not answer as expected" in page) is (status != 404), "404: nothing was trained yet"


def test_registry_gets_the_credentials_of_mlflow(
    reader: TestClient, registry: type[_Registry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    reader.get("/churn/health")
    assert registry.paths == ["/api/2.0/mlflow/registered-models/get?name=churn-grocery Basic cmVhZGVyOnNlY3JldA=="]


def test_names_from_data_are_escaped(reader: TestClient, settings: Settings) -> None:
    result = monitoring_result(
        DAY,
        model_version=HOSTILE,
        drift={"drifted": True, "features": [drifted_feature(HOSTILE, 3.0, reason=HOSTILE)], "drifted_features": 1},
        sources=[source_health(HOSTILE, DAY, exceeds=True, findings=[{"kind": "schema", "text": HOSTILE}])],
        retrain_reason=HOSTILE,
    )
    _record(settings, result)
    for path in ("/churn/health", "/churn/reports"):
        page = reader.get(path).text
        assert "<script" not in page
        assert "&lt;script&gt;" in page
