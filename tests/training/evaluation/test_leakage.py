"""Leakage checks detect planted leaks and accept data without leaks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from include.projects import Project
from include.training.data.rows import Rows
from include.training.evaluation.leakage import LeakageError, LeakageReport, check_leakage, require_no_leakage
from include.training.fitting.booster import part_fitter
from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract
from include.training.recipe import Hyperparameters
from tests.training.model.test_bundle import CONTRACT

CUSTOMERS, HORIZON = 700, 28
TRAIN_DAYS, TEST_DAYS = np.arange(0, 126, 14), np.arange(154, 182, 14)
DEEP = Hyperparameters(
    n_estimators=80, max_depth=8, learning_rate=0.3, subsample=1, colsample_bytree=1, min_child_weight=1
)
MODEST = DEEP.model_copy(update={"n_estimators": 40, "max_depth": 3, "learning_rate": 0.1, "min_child_weight": 20})
NAMES = ["pace", "visits", "extra"]

Extra = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]


def history(extra: Extra) -> tuple[Rows, Rows]:
    """Return training and test rows; churn depends on a hidden trait of the customer and on the daily pace feature."""
    random = np.random.default_rng(11)
    trait = random.normal(0, 1.5, CUSTOMERS)

    def rows(days: np.ndarray) -> Rows:
        who = np.tile(np.arange(CUSTOMERS), len(days))
        pace = random.normal(size=len(who))
        churned = (random.random(len(who)) < 1 / (1 + np.exp(1.5 + pace - trait[who]))).astype(np.int8)
        columns = [pace, random.poisson(3, len(who)), extra(random, churned, who)]
        return Rows(
            days=np.repeat(np.datetime64("2020-01-05") + days, CUSTOMERS),
            customers=pa.chunked_array([[f"c{number:04d}" for number in who]]),
            features=pa.table({}),
            matrix=np.column_stack(columns).astype(np.float32),
            churned=churned,
        )

    return rows(TRAIN_DAYS), rows(TEST_DAYS)


def check(project: Project, extra: Extra, chosen: Hyperparameters = MODEST, horizon: int = HORIZON) -> LeakageReport:
    train, test = history(extra)
    features = tuple(FeatureContract(name=name, dtype="number", nullable=True) for name in NAMES)
    contract = CONTRACT.model_copy(update={"features": features})

    training = project.training.model_copy(update={"resamples": 100, "seed": 1, "max_bin": 256})
    fit_parts = part_fitter(train, NAMES, chosen, training, half_life_days=None, device="cpu", workers=2)
    (fitted,) = fit_parts([np.ones(len(train), dtype=bool)])
    bundle = Bundle(contract, fitted.booster)
    return check_leakage(train, test, bundle, training, horizon, fit_parts)


def noise(random: np.random.Generator, churned: np.ndarray, who: np.ndarray) -> np.ndarray:
    return random.normal(size=len(who))


def test_data_without_leak_passes(project: Project) -> None:
    report = check(project, noise)
    assert report.findings == ()
    assert report.skipped == ()
    assert [split.name for split in report.splits] == ["unseen_customers", "earlier_training"]
    assert report.features[0].feature == "pace"
    require_no_leakage(report.model_dump_json().encode(), "churn version 1")


@pytest.mark.parametrize("direction", [1, -1])
def test_detects_noisy_label(project: Project, direction: int) -> None:
    def label(random: np.random.Generator, churned: np.ndarray, who: np.ndarray) -> np.ndarray:
        return direction * (churned + random.normal(0, 0.2, len(who)))

    report = check(project, label)
    assert any("feature extra alone" in finding for finding in report.findings)
    with pytest.raises(LeakageError, match="feature extra alone has an AUC of"):
        require_no_leakage(report.model_dump_json().encode(), "churn version 1")


def test_detects_informative_missing_values(project: Project) -> None:
    def missing(random: np.random.Generator, churned: np.ndarray, who: np.ndarray) -> np.ndarray:
        return np.where(churned == 1, np.nan, random.normal(size=len(who)))

    assert any("feature extra alone" in finding for finding in check(project, missing).findings)


def test_detects_customer_identifier(project: Project) -> None:
    def identity(random: np.random.Generator, churned: np.ndarray, who: np.ndarray) -> np.ndarray:
        return np.random.default_rng(5).permutation(CUSTOMERS)[who].astype(float)

    report = check(project, identity, DEEP)
    (finding,) = report.findings
    assert "on customers that the model has not seen" in finding
    assert "The most important features are pace, extra" in finding
    with pytest.raises(LeakageError, match="leaks the label or identifies the customer, correct or remove it"):
        require_no_leakage(report.model_dump_json().encode(), "churn version 1")


def test_without_time_only_single_features_are_checked(project: Project) -> None:
    report = check(project, noise, horizon=0)
    assert (report.splits, len(report.skipped)) == ((), 2)


@pytest.mark.parametrize("document", [None, b"", b"{}", b"not json"])
def test_rejects_run_without_report(document: bytes | None) -> None:
    with pytest.raises(LeakageError, match="not checked for leakage"):
        require_no_leakage(document, "churn version 1")
