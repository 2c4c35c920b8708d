"""The metrics that ``make bench NAME=quality`` prints, for the model of the simulated business."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks.quality import best_f1, headline, metrics_of
from tests.behaviour.worlds import Trained

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # includes the generation of the data


def test_metrics_of_the_simulated_business_are_plausible(subscription: Trained) -> None:
    figures = metrics_of(subscription.project, subscription.settings, subscription.candidate, train_seconds=3 * 3600)
    assert json.loads(json.dumps(figures)) == figures
    assert headline(figures).items() <= figures.items()
    assert figures["features"] == 102
    assert 500 < figures["test_customers"] < figures["test_rows"] < figures["train_rows"]
    # On a small test a model can exceed the optimum slightly by chance.
    assert 0.65 < figures["auc"] < figures["auc_bayes_optimal"] + 0.01
    assert figures["regret"] == pytest.approx(figures["auc_bayes_optimal"] - figures["auc"])
    assert 0.5 < figures["auc_recency"] < figures["auc_bayes_optimal"]
    assert 0.6 < figures["auc_logistic"] < figures["auc_bayes_optimal"] + 0.01
    assert figures["saving_bayes_optimal"] > figures["saving_everybody"]
    assert figures["f1"] <= figures["f1_best"]
    assert "training_hours" in [item.split(" ")[0] for item in figures["requirements_missed"]]


def test_best_f1_is_of_the_best_threshold() -> None:
    churned = np.array([1, 0, 1, 0, 0], dtype=np.int8)
    assert best_f1(churned, np.array([0.9, 0.8, 0.7, 0.2, 0.1])) == pytest.approx(0.8)
    assert best_f1(churned, np.array([0.9, 0.1, 0.8, 0.2, 0.3])) == 1.0
