"""The half-life of the rows: short after a change of the causes of churn, none without a change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import roc_auc_score

from include.projects import Project
from include.training.data.rows import Rows
from include.training.fitting.booster import Fitted, part_fitter
from include.training.fitting.history import FitBooster, History, choose_history
from include.training.model.bundle import margins
from include.training.recipe import Hyperparameters

HORIZON, SNAPSHOTS, CUSTOMERS = 28, 20, 250
CHOSEN = Hyperparameters(
    n_estimators=20, max_depth=2, learning_rate=0.3, subsample=1, colsample_bytree=1, min_child_weight=5
)


def weekly_rows(seed: int, changed_from: int = 0, snapshots: int = SNAPSHOTS) -> Rows:
    """Return weekly rows. Churn depends on the first feature before the snapshot ``changed_from``, else the second."""
    random = np.random.default_rng(seed)
    snapshot = np.repeat(np.arange(snapshots), CUSTOMERS)
    matrix = random.normal(size=(len(snapshot), 2)).astype(np.float32)
    cause = np.where(snapshot < changed_from, matrix[:, 0], matrix[:, 1])
    return Rows(
        days=np.datetime64("2023-01-01") + 7 * snapshot,
        customers=pa.chunked_array([[f"c{number}" for number in np.tile(np.arange(CUSTOMERS), snapshots)]]),
        features=pa.table({"first": matrix[:, 0], "second": matrix[:, 1]}),
        matrix=matrix,
        churned=(random.random(len(snapshot)) < 1 / (1 + np.exp(1 - 1.5 * cause))).astype(np.int8),
    )


def fitter(project: Project) -> FitBooster:
    def fit_booster(part: Rows, half_life_days: float | None) -> Fitted:
        names = part.features.column_names
        fit_parts = part_fitter(
            part, names, CHOSEN, project.training, half_life_days=half_life_days, device="cpu", workers=1
        )
        return fit_parts([np.ones(len(part), dtype=bool)])[0]

    return fit_booster


def choose(project: Project, rows: Rows, workers: int = 2) -> History:
    return choose_history(rows, project, HORIZON, fitter(project), workers)


@pytest.mark.parametrize("seed", range(4))
def test_rows_have_equal_weights_without_a_change(project: Project, seed: int) -> None:
    history = choose(project, weekly_rows(seed))
    assert history.half_life_days is None
    assert [score.half_life_days for score in history.scores] == [None, 14, 28, 56]


@pytest.mark.parametrize("changed", [4, 8])
@pytest.mark.parametrize("seed", range(4))
def test_recent_rows_have_more_weight_after_a_change(project: Project, seed: int, changed: int) -> None:
    history = choose(project, weekly_rows(seed, changed_from=SNAPSHOTS - changed))
    assert history.half_life_days in (14, 28, 56)
    assert history.gain_low is not None
    assert history.gain_low > 0
    assert max(history.scores, key=lambda score: score.auc).half_life_days == history.half_life_days


def test_rows_have_equal_weights_again_long_after_a_change(project: Project) -> None:
    assert choose(project, weekly_rows(1, changed_from=6, snapshots=60)).half_life_days is None


def test_no_customer_of_a_fit_is_in_its_validation(project: Project) -> None:
    rows, fits = weekly_rows(1), list[tuple[float | None, Rows]]()

    def record(part: Rows, half_life_days: float | None) -> Fitted:
        fits.append((half_life_days, part))
        return fitter(project)(part, half_life_days)

    history = choose_history(rows, project, HORIZON, record, workers=1)
    for score in history.scores:
        first, second = [part for half_life_days, part in fits if half_life_days == score.half_life_days]
        assert not set(first.by_customer()[0]) & set(second.by_customer()[0])
        assert len(first) + len(second) == len(rows)


def test_booster_is_not_scored_on_customers_that_it_knows(project: Project) -> None:
    rows, random = weekly_rows(1), np.random.default_rng(0)
    # All rows of a customer are equal, and the label is random, so only a known customer can be predicted.
    matrix = np.tile(random.normal(size=(CUSTOMERS, 2)), (SNAPSHOTS, 1)).astype(np.float32)
    churned = np.tile(random.integers(0, 2, CUSTOMERS), SNAPSHOTS).astype(np.int8)
    known = replace(rows, matrix=matrix, churned=churned)
    booster = fitter(project)(known, None).booster
    assert roc_auc_score(churned, margins(booster, matrix)) > 0.7
    assert all(0.4 < score.auc < 0.6 for score in choose(project, known).scores)


def test_choice_does_not_depend_on_the_number_of_workers(project: Project) -> None:
    rows = weekly_rows(2, changed_from=SNAPSHOTS - 8)
    assert choose(project, rows, workers=1) == choose(project, rows, workers=4)


@pytest.mark.parametrize("snapshots", [1, 4])
def test_a_history_of_less_than_a_horizon_is_not_compared(project: Project, snapshots: int) -> None:
    assert choose(project, weekly_rows(1, snapshots=snapshots)) == History()


def test_rows_with_one_label_are_not_compared(project: Project) -> None:
    rows = weekly_rows(1)
    assert choose(project, replace(rows, churned=np.zeros_like(rows.churned))) == History()
