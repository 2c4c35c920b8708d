"""The metrics of a scrape, and every query of the rules and dashboards against a real endpoint and the plugin."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
import sqlalchemy as sa
import yaml
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from starlette.routing import Mount

from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import FEATURES_TABLE, SCORES_TABLE, SILVER_DAYS_TABLE, quarantine_table, silver_table
from include.monitoring.results import write_result
from include.serving.deployment.state import BentoReference
from include.serving.endpoint.metrics import SERVER_ERRORS
from include.settings import ROOT, MetricsSettings, MlflowSettings, Settings, get_settings
from tests.monitoring.results import monitoring_result, realised_model
from tests.plugins.servers import listening
from tests.prometheus import RULES, Prometheus, panel_expressions, rule_expressions, running_prometheus, selectors
from tests.serving.conftest import bento, bento_home, bundle, free_port, make_settings  # noqa: F401 - fixtures
from tests.serving.endpoint.servers import GOOD, Served, running
from tests.serving.servers import record_deployment

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

TOKEN = "0123456789abcdef0123456789abcdef"
DAY = dt.date(2017, 12, 1)
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture(scope="module")
def pages(airflow_database: None) -> Iterator[FastAPI]:
    """The pages of the plugin, without Airflow around them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "plugins"))
        from churn_pages.app import app

        yield app


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, airflow_database: None) -> Settings:
    """A lake of two days, a deployed model, a monitored day, and runs and heartbeats in Airflow's database."""
    home = tmp_path_factory.mktemp("home")
    (home / "token").write_text(f"{TOKEN}\n")
    settings = Settings(
        home=home,
        project="subscription",
        schedule="daily",
        metrics=MetricsSettings(token_file=home / "token"),
        mlflow=MlflowSettings(tracking_uri=f"http://127.0.0.1:{free_port()}"),
    )
    lake = open_lake(settings)
    for table, days in {
        silver_table("transactions"): [DAY - dt.timedelta(days=1)] * 3 + [DAY] * 5,
        quarantine_table("transactions"): [DAY] * 2,
        silver_table("sessions"): [DAY - dt.timedelta(days=1)] * 4,
        SILVER_DAYS_TABLE: [DAY - dt.timedelta(days=1), DAY],
        FEATURES_TABLE: [DAY],
        SCORES_TABLE: [DAY - dt.timedelta(days=1)],
    }.items():
        rows = pa.table({"dt": pa.array(days, pa.date32()), "row": range(len(days))})
        lake.table(table).replace(DayRange(min(days), max(days)), rows)
    path = str(settings.serving_dir / "bento-7")
    record_deployment(settings.serving_dir, BentoReference("churn:7", "7", path, settings.project))
    day = DAY - dt.timedelta(days=2)
    write_result(settings.reports_dir, day, _result(day))
    _fill_database()
    return settings


def _result(day: dt.date) -> dict[str, Any]:
    interval = {"value": 0.8, "low": 0.7, "high": 0.9}
    metrics = dict.fromkeys(("accuracy", "auc", "saving_usd_per_1000"), interval)
    return monitoring_result(
        day,
        "subscription",
        drift={"drifted": True, "severity": 3.5, "drifted_features": 2},
        performance={"models": [realised_model(day, metrics=metrics, promised=metrics)]},
        expected={"metrics": dict.fromkeys(("auc", "saving_usd_per_1000"), interval)},
        served={"models": [{"model_version": "7", "answers": 10, "churn_share": 0.1, "mean_probability": 0.2}]},
    )


def _fill_database() -> None:
    """Store heartbeats, runs of two DAGs, a training, and a missed deadline about which a message was sent."""
    import uuid6
    from airflow.jobs.job import Job
    from airflow.models import DagModel, DagRun, Deadline, TaskInstance
    from airflow.models.callback import Callback
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    def ago(**parts: float) -> dt.datetime:
        return NOW - dt.timedelta(**parts)

    dag = {"bundle_name": "dags", "max_active_tasks": 1, "max_consecutive_failed_dag_runs": 0}
    runs = [("churn_train", "success", 5), ("churn_train", "failed", 4), ("churn_train", "failed", 3)]
    with create_session() as session:
        session.merge(DagBundleModel(name="dags"))
        session.flush()
        for job_type in ("SchedulerJob", "DagProcessorJob", "TriggererJob"):
            session.add_all(Job(job_type=job_type, latest_heartbeat=ago(seconds=age)) for age in (5, 90))
        for dag_id in ("churn_train", "churn_score"):
            values = {"dag_id": dag_id, "is_stale": False, "has_task_concurrency_limits": False, **dag}
            session.execute(sa.insert(DagModel).values(**values))
        for number, (dag_id, state, hours) in enumerate([*runs, ("churn_score", "success", 2)]):
            run = {"dag_id": dag_id, "run_id": str(number), "run_type": "manual", "end_date": ago(hours=hours)}
            session.execute(sa.insert(DagRun.__table__).values(state=state, run_after=NOW, **run))
        training = {"dag_id": "churn_train", "run_id": "0", "task_id": "train", "pool": "default_pool"}
        ended = {"state": "success", "end_date": ago(hours=5), "duration": 40.0}
        session.execute(sa.insert(TaskInstance.__table__).values(id=uuid6.uuid7(), **training, **ended))
        for hours, state in ((30, "success"), (1, "running")):
            callback = uuid6.uuid7()
            row = {"type": "executor", "fetch_method": "import_path", "data": {}, "priority_weight": 1}
            session.execute(sa.insert(Callback.__table__).values(id=callback, state=state, **row))
            missed = {"deadline_time": ago(hours=hours), "missed": True, "callback_id": callback}
            session.execute(sa.insert(Deadline.__table__).values(id=uuid6.uuid7(), **missed))


@pytest.fixture(scope="module")
def pipeline_url(pages: FastAPI, settings: Settings) -> Iterator[str]:
    """The address at which the pages answer."""
    pages.dependency_overrides[get_settings] = lambda: settings
    with listening(Starlette(routes=[Mount("/churn", pages)])) as url:
        yield url
    pages.dependency_overrides.clear()


@pytest.fixture(scope="module")
def endpoint(bento: BentoReference, make_settings: Callable[[], Settings]) -> Iterator[Served]:  # noqa: F811
    """An endpoint that has answered predictions, one of them outside the range of the training, and an error."""
    with running(bento, make_settings(out_of_range="accept")) as served:
        for features in (GOOD, GOOD | {"recency_days": -1.0}):
            assert served.predict_features(features).status_code == 200
        assert served.post("{").status_code == 400
        yield served


@pytest.fixture(scope="module")
def prometheus(pipeline_url: str, settings: Settings, endpoint: Served) -> Iterator[Prometheus]:
    """A server with the scrape configuration of the Compose stack, but with other addresses and a short interval."""
    configuration = yaml.safe_load((ROOT / "docker" / "prometheus" / "prometheus.yml").read_text())
    configuration |= {"global": {"scrape_interval": "1s"}, "rule_files": [str(RULES)]}
    del configuration["alerting"]
    jobs = {job["job_name"]: job for job in configuration["scrape_configs"]}
    jobs["churn-endpoint"]["static_configs"] = [{"targets": [endpoint.url.removeprefix("http://")]}]
    jobs["churn-pipeline"]["static_configs"] = [{"targets": [pipeline_url.removeprefix("http://")]}]
    jobs["churn-pipeline"]["authorization"]["credentials_file"] = str(settings.metrics.token_file)
    with running_prometheus(configuration, free_port()) as server:
        server.wait_for('count_over_time(up{job="churn-endpoint"}[1m]) >= 2')
        server.wait_for('up{job="churn-pipeline"} == 1')
        yield server


def _scrape(url: str, token: str = TOKEN, path: str = "metrics") -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}".encode()}
    return httpx.get(f"{url}/churn/{path}", headers=headers, trust_env=False, timeout=60)


def _values(text: str, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a metric by its labels besides the project."""
    families = {family.name: family.samples for family in text_string_to_metric_families(text)}
    return {
        tuple(value for label, value in sample.labels.items() if label != "project"): sample.value
        for sample in families.get(name, [])
    }


@pytest.fixture(scope="module")
def metrics(pipeline_url: str) -> str:
    return _scrape(pipeline_url).raise_for_status().text


def test_times_are_the_ends_of_the_newest_days(metrics: str) -> None:
    end = dt.datetime.combine(DAY, dt.time(), dt.UTC).timestamp() + 86_400
    assert _values(metrics, "churn_gold_day_timestamp_seconds") == {(): end}
    assert _values(metrics, "churn_retention_list_day_timestamp_seconds") == {(): end - 86_400}
    assert _values(metrics, "churn_monitoring_day_timestamp_seconds") == {(): end - 2 * 86_400}
    sources = _values(metrics, "churn_source_day_timestamp_seconds")
    assert sources == {("transactions",): end, ("sessions",): end - 86_400}
    due = dt.datetime.combine(DAY, dt.time(7), dt.UTC) + dt.timedelta(days=1)
    assert _values(metrics, "churn_retention_list_due_timestamp_seconds") == {(): due.timestamp()}


def test_rows_are_those_of_the_newest_ingested_day(metrics: str) -> None:
    rows = dict.fromkeys([("customers",), ("sessions",), ("support_tickets",), ("transactions",)], 0)
    assert _values(metrics, "churn_source_rows") == rows | {("transactions",): 5}
    assert _values(metrics, "churn_source_refused_rows") == rows | {("transactions",): 2}


def test_state_of_airflow(metrics: str) -> None:
    def ago(**parts: float) -> float:
        return (NOW - dt.timedelta(**parts)).timestamp()

    heartbeats = _values(metrics, "churn_airflow_heartbeat_timestamp_seconds")
    components = [("scheduler",), ("dag-processor",), ("triggerer",)]
    assert heartbeats == dict.fromkeys(components, pytest.approx(ago(seconds=5)))
    runs = {("churn_train", "success"): 1, ("churn_train", "failed"): 2, ("churn_score", "success"): 1}
    found = _values(metrics, "churn_dag_runs")
    assert {(*key,): found[key] for key in runs} == runs
    ended = _values(metrics, "churn_dag_run_end_timestamp_seconds")
    assert ended["churn_train", "failed"] == pytest.approx(ago(hours=3))
    assert _values(metrics, "churn_training_timestamp_seconds") == {(): pytest.approx(ago(hours=5))}
    assert _values(metrics, "churn_training_duration_seconds") == {(): 40}
    assert _values(metrics, "churn_deadline_alert_timestamp_seconds") == {(): pytest.approx(ago(hours=30))}
    assert _values(metrics, "churn_mlflow_up") == {(): 0}


def test_without_its_database_only_the_metrics_of_airflow_are_missing(
    pipeline_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from churn_pages import scrape

    def refuse() -> None:
        raise sa.exc.OperationalError("connect", {}, ConnectionRefusedError())

    monkeypatch.setattr(scrape, "create_session", refuse)
    text = _scrape(pipeline_url).raise_for_status().text
    assert _values(text, "churn_airflow_database_up") == {(): 0}
    assert _values(text, "churn_airflow_heartbeat_timestamp_seconds") == {}
    assert _values(text, "churn_gold_day_timestamp_seconds")


@pytest.mark.parametrize("path", ["health", "reports", "view/drift/2017-12-01/index.html"])
def test_token_gives_access_to_the_metrics_only(pipeline_url: str, path: str) -> None:
    assert _scrape(pipeline_url, path=path).status_code in (401, 403)


@pytest.mark.parametrize("token", [TOKEN[:-1], TOKEN.upper(), "x", "é"])
def test_other_tokens_are_refused(pipeline_url: str, token: str) -> None:
    assert _scrape(pipeline_url, token).status_code in (401, 403)


def test_tokens_are_rotated_without_a_refused_scrape(pipeline_url: str, settings: Settings) -> None:
    file, new = settings.metrics.token_file, TOKEN[::-1]
    assert file is not None
    former = file.read_text()
    try:
        for content, accepted in ((f"{TOKEN}\n{new}\n", {TOKEN, new}), (f"{new}\n", {new})):
            file.write_text(content)
            assert {token for token in (TOKEN, new) if _scrape(pipeline_url, token).is_success} == accepted
    finally:
        file.write_text(former)


@pytest.mark.parametrize("content", ["short", f"{TOKEN}\nshort", "", None])
def test_log_and_not_the_client_learns_the_path_of_an_unusable_token_file(
    pipeline_url: str,
    pages: FastAPI,
    settings: Settings,
    tmp_path: Path,
    content: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    broken = settings.model_copy(update={"metrics": MetricsSettings(token_file=file)})
    pages.dependency_overrides[get_settings] = lambda: broken
    try:
        answer = _scrape(pipeline_url, "short")
    finally:
        pages.dependency_overrides[get_settings] = lambda: settings
    assert answer.status_code == 500
    assert str(tmp_path) not in answer.text
    assert [getattr(record, "file", None) for record in caplog.records if record.levelname == "ERROR"] == [str(file)]


def test_every_series_of_a_rule_exists(prometheus: Prometheus) -> None:
    for expression in rule_expressions().values():
        prometheus.query(expression)  # it is valid
        assert selectors(expression)
        assert {selector for selector in selectors(expression) if not prometheus.query(selector)} == set()


def test_every_panel_has_data_and_the_labels_of_its_legend(prometheus: Prometheus) -> None:
    for name, (expression, legend) in panel_expressions().items():
        series = prometheus.query(expression)
        assert series, f"{name} has no data: {expression}"
        wanted = set(re.findall(r"{{(\w+)}}", legend))
        assert all(wanted <= one["metric"].keys() for one in series), name


def test_rules_and_panels_count_all_errors_of_the_server() -> None:
    queries = [*rule_expressions().values(), *(expression for expression, _ in panel_expressions().values())]
    kinds = {match for query in queries for match in re.findall(r'kind=~"([^"]*)"', query)}
    assert kinds == {"|".join(SERVER_ERRORS)}


def test_documentation_lists_every_metric_and_every_alert(metrics: str, endpoint: Served) -> None:
    text = (ROOT / "docs" / "monitoring.md").read_text()
    families = text_string_to_metric_families(metrics + endpoint.http.get("/metrics").text)
    names = {re.sub(r"_(low|high)$|^ml_model_(test|expected)_", "", family.name) for family in families}
    assert {name for name in names if name not in text} == set()
    assert {alert for alert in rule_expressions() if f"### {alert}\n" not in text} == set()
