"""The realised days and the best refits of a time-lapse, on a small gold."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pytest
import xgboost as xgb

from benchmarks.timelapse.compare import best_refits, realised_days
from include.days import DayRange
from include.lake import Lake, open_lake
from include.lake.table_names import FEATURES_TABLE, SCORES_TABLE
from include.retention.retention_list import retention_list
from include.settings import Settings
from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract
from tests.training.contracts import contract_of
from tests.training.gold import small_project, snapshot_days, write_gold

PROJECT = small_project(resamples=100)
DAYS = snapshot_days(PROJECT, 20)
SCORED = DAYS[-1]
CUSTOMERS = 200


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = open_lake(Settings(home=tmp_path_factory.mktemp("home")))
    write_gold(lake, PROJECT, DAYS, CUSTOMERS)
    scores = retention_list(SCORED, lake.table(FEATURES_TABLE).read([SCORED]), model(sign=1), "1", 0)
    lake.table(SCORES_TABLE).replace(DayRange.single(SCORED), scores)
    return lake


def model(sign: int) -> Bundle:
    """Return a model that predicts churn from a high (1) or a low (-1) number of days since the last purchase."""
    contract = contract_of(
        FeatureContract(name="days_since_purchase", dtype="number", nullable=False), project=PROJECT.name, threshold=0.5
    )
    values = np.arange(60, dtype=np.float32).reshape(-1, 1)
    churned = values[:, 0] * sign > 10 * sign
    parameters = {"objective": "binary:logistic", "nthread": 1, "max_depth": 2}
    return Bundle(contract, xgb.train(parameters, xgb.DMatrix(values, churned), 10))


def test_a_first_model_that_still_serves_has_the_same_outcome(lake: Lake) -> None:
    (outcome,) = realised_days(PROJECT, lake, [SCORED], model(sign=1))
    assert outcome.auc_with == outcome.auc_without > 0.5
    assert outcome.saving_with == outcome.saving_without


def test_a_worse_first_model_ranks_worse_and_saves_less(lake: Lake) -> None:
    (outcome,) = realised_days(PROJECT, lake, [SCORED], model(sign=-1))
    assert outcome.auc_without < 0.5 < outcome.auc_with
    assert outcome.saving_without < outcome.saving_with


def test_the_best_refit_is_better_than_one_feature(lake: Lake) -> None:
    through = SCORED + dt.timedelta(days=PROJECT.label.horizon_days)
    (outcome,) = realised_days(PROJECT, lake, [SCORED], model(sign=1))
    assert best_refits(PROJECT, lake, [SCORED], through)[SCORED] > outcome.auc_with + 0.05
