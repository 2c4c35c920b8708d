"""Realised performance, computed from scores and labels in a lake."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from include.days import DayRange
from include.lake.table_names import LABELS_TABLE, SCORES_TABLE
from include.monitoring.performance import realised_performance
from include.retention.retention_list import score_day
from tests.monitoring.conftest import TEST_AUC, Production


def performance_on(production: Production, day: dt.date):  # type: ignore[no-untyped-def]
    return realised_performance(production.lake, production.project, production.bundle.contract, "1", day)


def test_performance_is_unknown_before_the_first_score(production: Production) -> None:
    performance = performance_on(production, production.days[20])
    assert performance.state == "not yet known"
    assert performance.auc is None
    assert not performance.decayed


def test_scores_are_evaluated_once_the_horizon_has_passed(production: Production) -> None:
    scored = production.days[15]
    score_day(scored, production.settings)
    matured = scored + dt.timedelta(days=production.project.label.horizon_days)
    assert performance_on(production, matured - dt.timedelta(days=1)).state == "not yet known"
    assert performance_on(production, matured).state == "known"


def test_figures_follow_from_scores_and_labels(production: Production) -> None:
    scored = production.days[15]
    score_day(scored, production.settings)
    performance = performance_on(production, scored + dt.timedelta(days=28))
    keys = ["dt", "customer_id"]
    rows = production.lake.table(SCORES_TABLE).read([scored])
    rows = rows.join(production.lake.table(LABELS_TABLE).read([scored]), keys, join_type="inner")
    churned, probability = np.asarray(rows["churned"]), np.asarray(rows["churn_probability"])
    assert performance.auc == pytest.approx(roc_auc_score(churned, probability))
    assert performance.brier == pytest.approx(np.mean((churned - probability) ** 2))
    assert performance.observed_over_expected == pytest.approx(churned.mean() / probability.mean())
    assert performance.rows == len(churned)


def test_reversed_scores_are_decay(production: Production) -> None:
    scored = production.days[15]
    score_day(scored, production.settings)
    table = production.lake.table(SCORES_TABLE)
    rows = table.read([scored])
    reversed_scores = pa.array(1 - np.asarray(rows["churn_probability"]))
    index = rows.schema.get_field_index("churn_probability")
    table.replace(DayRange.single(scored), rows.set_column(index, "churn_probability", reversed_scores))
    performance = performance_on(production, scored + dt.timedelta(days=28))
    assert performance.test_auc is not None
    assert performance.test_auc == TEST_AUC
    assert performance.decayed
    assert "is below the test set" in performance.reason


def test_auc_is_undefined_for_a_single_class(production: Production) -> None:
    scored = production.days[15]
    score_day(scored, production.settings)
    labels = production.lake.table(LABELS_TABLE)
    rows = labels.read([scored])
    retained = pa.array(np.zeros(rows.num_rows, dtype=np.int32))
    index = rows.schema.get_field_index("churned")
    labels.replace(DayRange.single(scored), rows.set_column(index, "churned", retained))
    performance = performance_on(production, scored + dt.timedelta(days=28))
    assert (performance.state, performance.auc, performance.decayed) == ("known", None, False)
