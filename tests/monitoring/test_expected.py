"""Expected performance: estimates from probabilities, their intervals, and the record of earlier estimates."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from include.lake.table_names import SCORES_TABLE
from include.monitoring.expected import Expected, expected_performance
from include.monitoring.performance import deployed_evaluations
from include.retention.retention_list import score_day
from include.training.evaluation.estimate import estimate_intervals, estimate_metrics, realised_metrics
from tests.monitoring.conftest import Production
from tests.training.gold import small_project

HORIZON = dt.timedelta(days=28)


def expected_on(production: Production, day: dt.date) -> Expected:
    return expected_performance(production.lake, production.project, deployed_evaluations(production.settings), day)


def test_intervals_of_calibrated_probabilities_cover_the_true_metrics() -> None:
    project, random = small_project(), np.random.default_rng(5)
    covered: dict[str, list[bool]] = {}
    for _ in range(100):
        probability = random.beta(1, 6, 800)
        offered = probability >= 0.1
        realised = realised_metrics(project, random.random(800) < probability, probability, offered)
        errors = dict.fromkeys(realised, 0.0)
        for name, value in estimate_intervals(project, probability, offered, errors).items():
            covered.setdefault(name, []).append(value.low <= realised[name] <= value.high)
    assert set(covered) == {"auc", "precision", "recall", "saving_usd_per_1000", "observed_churn"}
    for name, hits in covered.items():
        assert 0.86 <= np.mean(hits) <= 0.99, name  # 95 %, at most four standard errors away


def test_realised_metrics_equal_scikit_learn() -> None:
    random = np.random.default_rng(1)
    probability = random.beta(1, 6, 500).round(2)
    churned, offered = random.random(500) < probability, probability >= 0.1
    found = realised_metrics(small_project(), churned, probability, offered)
    assert found["auc"] == pytest.approx(roc_auc_score(churned, probability))
    assert found["precision"] == pytest.approx(precision_score(churned, offered))
    assert found["recall"] == pytest.approx(recall_score(churned, offered))


def test_undefined_metrics_are_left_out() -> None:
    probability, none = np.full(50, 0.02), np.zeros(50, dtype=bool)
    assert set(realised_metrics(small_project(), none, probability, none)) == {
        "saving_usd_per_1000",
        "observed_churn",
    }
    assert "precision" not in estimate_metrics(small_project(), probability, none)


def test_errors_of_earlier_estimates_widen_the_intervals() -> None:
    project, probability = small_project(), np.random.default_rng(2).beta(1, 6, 300)
    narrow, wide, widest = (
        estimate_intervals(project, probability, probability >= 0.1, {"auc": error})["auc"] for error in (0, 0.1, 1)
    )
    assert wide.low < narrow.low < narrow.value == wide.value < narrow.high < wide.high
    assert (widest.low, widest.high) == (0, 1)


def test_estimate_of_a_scored_day_is_later_compared_with_its_labels(production: Production) -> None:
    day = production.days[15]
    assert expected_on(production, day).metrics is None
    score_day(day, production.settings)
    before = expected_on(production, day)
    assert before.metrics is not None
    assert "does not show a changed concept" in before.reason
    assert before.record == ()
    assert expected_on(production, day + HORIZON - dt.timedelta(days=1)).record == ()
    after = expected_on(production, day + HORIZON)
    assert {past.metric: past.estimate for past in after.record} == before.metrics
    assert after.covered == {past.metric: float(past.covered) for past in after.record}
    # The scores and estimates of a later day do not change the record.
    score_day(production.days[20], production.settings)
    assert expected_on(production, day + HORIZON).record == after.record
    assert expected_on(production, day).metrics == before.metrics


def test_no_estimate_without_the_errors_on_the_test(production: Production) -> None:
    day = production.days[15]
    score_day(day, production.settings)
    found = expected_performance(production.lake, production.project, lambda version: None, day)
    assert found.metrics is None
    assert found.reason == "The errors of estimates are not known for model version 1."
    assert len(production.lake.table(SCORES_TABLE).days()) == 1
