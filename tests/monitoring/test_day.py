"""Monitoring of a whole day: result, pages, incident and training request."""

from __future__ import annotations

import datetime as dt
import json
import shutil
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from include.monitoring.exposition import Exposition
from include.monitoring.health import served_model
from include.monitoring.history import read_history
from include.monitoring.incidents import record_incidents
from include.monitoring.metrics import add_model_metrics
from include.monitoring.monitor_day import monitor_day
from include.monitoring.results import RESULT_FILE, ResultError, day_dir, list_reports, newest_result, write_result
from include.retention.retention_list import ScoringError, deployed_bento, score_day
from include.settings import ProjectMismatchError, Settings
from include.training.model.bundle import Bundle
from include.training.model.reference_profile import SCORE
from tests.monitoring.conftest import CUSTOMERS, TEST_AUC, Production, shift
from tests.monitoring.results import monitoring_result
from tests.monitoring.test_served import answers, serve
from tests.serving.servers import record_deployment


def metrics(settings: Settings) -> dict[str, float]:
    out = Exposition(settings.project)
    add_model_metrics(served_model(settings), newest_result(settings.reports_dir), out)
    families = text_string_to_metric_families(out.render())
    return {sample.name: sample.value for family in families for sample in family.samples}


@pytest.mark.slow
def test_drift_writes_pages_and_a_result_and_requests_one_training(production: Production) -> None:
    settings, project, day = production.settings, production.project, production.days[20]
    scored = production.days[15]
    score_day(scored, settings)
    shift(production, day, "days_since_purchase", 900.0)
    production.bundle.save(settings.home / "shadow")
    serve(production, [answers(production, day)], shadow=str(settings.home / "shadow"))
    result = monitor_day(project, settings, day)

    assert result["drift"]["drifted"]
    assert [model["answers"] for model in result["served"]["models"]] == [CUSTOMERS]
    assert result["served"]["drift"]["drifted"] == ["days_since_purchase", SCORE]
    assert result["drift"]["features"][0]["name"] == "days_since_purchase"
    assert result["performance"]["state"] == "known"
    assert result["retrain_reason"].startswith("drift")
    folder = day_dir(settings.reports_dir, day)
    assert sorted(path.name for path in folder.iterdir()) == [
        "evidently.html",
        "index.html",
        "result.json",
        "summary.json",
    ]
    assert json.loads((folder / "result.json").read_text()) == result
    page = (folder / "index.html").read_text()
    assert result["served"]["reason"] in page
    assert "days_since_purchase" in page
    assert 'href="evidently.html"' in page

    incident = record_incidents(project, settings, day)[0]
    assert (incident.incident_id, incident.change) == (f"drift-{day}", "opened")
    assert any(line.startswith("days_since_purchase: ") for line in incident.lines)
    assert any(line.startswith("Scores: ") for line in incident.lines)

    assert newest_result(settings.reports_dir) == result
    model = served_model(settings)
    assert model is not None
    assert (model.version, model.trained_through) == ("1", production.bundle.contract.trained_through)
    assert model.since is not None
    assert [report.path for report in list_reports(settings.reports_dir)] == [result["report"]]
    (summary,) = read_history(settings.reports_dir)
    assert (summary.day, summary.drifted, summary.retrain_reason) == (day, True, result["retrain_reason"])
    assert summary.drifted_features[0] == "days_since_purchase"
    exposed = metrics(settings)
    (realised,) = result["performance"]["models"]
    accuracy = realised["metrics"]["accuracy"]
    assert exposed["ml_model_accuracy"] == pytest.approx(accuracy["value"])
    assert exposed["ml_model_accuracy_low"] == pytest.approx(accuracy["low"])
    assert exposed["ml_model_test_auc"] == TEST_AUC
    assert exposed["ml_model_decayed"] == result["performance"]["decayed"]
    assert result["performance"]["segments"]
    assert result["expected"]["metrics"] is None
    assert {past["day"] for past in result["expected"]["record"]} == {str(scored)}
    assert "Earlier estimates" in page
    assert exposed["ml_drift_detected"] == 1
    assert exposed["ml_served_answers"] == exposed["ml_shadow_rows"] == CUSTOMERS
    assert exposed["ml_shadow_decisions_that_differ"] == 0

    again = monitor_day(project, settings, day)
    assert (again["requests_training"], again["retrain_reason"]) == (True, result["retrain_reason"])
    assert again["drift"] == result["drift"]
    first = deployed_bento(settings)
    record_deployment(settings.serving_dir, replace(first, bento="churn:2", model_version="2"))
    for _ in range(2):
        retrained = monitor_day(project, settings, day)
        assert retrained["model_version"] == "2"
        assert (retrained["requests_training"], retrained["retrain_reason"]) == (False, result["retrain_reason"])
    later = production.days[21]
    shift(production, later, "days_since_purchase", 900.0)
    after = monitor_day(project, settings, later)
    assert (after["requests_training"], after["retrain_reason"]) == (False, None)
    assert after["retrain_refusal"].endswith(f"A training was requested on {day}.")
    assert (
        f"Not requested. drift: {after['drift']['reason'].split(';')[0]}"
        in (settings.reports_dir / after["report"]).read_text()
    )


@pytest.mark.slow
def test_first_day_is_monitored_before_labels_mature(production: Production) -> None:
    result = monitor_day(production.project, production.settings, production.days[5])
    assert result["performance"]["state"] == "not yet known"
    page = (production.settings.reports_dir / result["report"]).read_text()
    assert "not yet known" in page
    assert "contains no predictions of" in page
    exposed = metrics(production.settings)
    assert "ml_model_accuracy" not in exposed
    assert "ml_drift_detected" in exposed


def test_missing_deployment_is_an_error(production: Production) -> None:
    (production.settings.serving_dir / "state.db").unlink()
    with pytest.raises(ScoringError, match="No model is deployed"):
        monitor_day(production.project, production.settings, production.days[5])


def test_health_of_a_new_installation_is_empty(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = Settings(home=tmp_path_factory.mktemp("fresh"))
    assert newest_result(settings.reports_dir) is None
    assert served_model(settings) is None
    assert metrics(settings) == {}


def test_damaged_result_is_an_error_with_its_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = Settings(home=tmp_path_factory.mktemp("damaged"))
    day = dt.date(2017, 12, 1)
    write_result(settings.reports_dir, day, monitoring_result(day))
    (day_dir(settings.reports_dir, day) / RESULT_FILE).write_text('{"project": "grocery", "day": "2017-12-01"}')
    with pytest.raises(ResultError, match="2017-12-01"):
        metrics(settings)


def test_deployment_and_result_of_another_project_are_refused(production: Production) -> None:
    settings, day = production.settings, production.days[0]
    write_result(settings.reports_dir, day, monitoring_result(day, project="other"))
    with pytest.raises(ProjectMismatchError, match=r"monitoring result belongs to project 'other'.*result\.json"):
        metrics(settings)
    other = Settings(home=settings.home, project="other")
    assert served_model(other) is None
    shutil.copytree(settings.serving_dir, other.serving_dir)
    with pytest.raises(ProjectMismatchError, match="serving state belongs to project"):
        metrics(other)
    foreign = Bundle(production.bundle.contract.model_copy(update={"project": "other"}), production.bundle.booster)
    foreign.save(deployed_bento(settings).bundle)
    for use in (lambda: metrics(settings), lambda: monitor_day(production.project, settings, production.days[-1])):
        with pytest.raises(ProjectMismatchError, match="model in the Bento belongs to project 'other'"):
            use()
