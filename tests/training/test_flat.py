"""Data without time: data set, training, promotion and monitoring."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest

from include.lake import Lake
from include.monitoring.performance import realised_performance
from include.monitoring.retraining import SavingChange, retrain_decision
from include.monitoring.windows import judged_days, latest_rows
from include.settings import Settings
from include.training.data.build import build_dataset
from include.training.data.dataset import DatasetError
from include.training.data.rows import load_rows, model_contract, row_splits
from include.training.release.champion import champion_recipe
from include.training.release.promotion import promote
from include.training.release.registry import Registry
from include.training.train import train_challenger
from tests.training.flat import DAY, flat_project, write_flat_gold

LATER = DAY + dt.timedelta(days=40)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    found = Lake(str(tmp_path / "lake"))
    write_flat_gold(found, flat_project())
    return found


def test_newest_delivery_is_split_by_customer(lake: Lake, tmp_path: Path) -> None:
    project = flat_project()
    write_flat_gold(lake, project, LATER, customers=440)
    write_flat_gold(lake, project, LATER + dt.timedelta(days=1))
    manifest = build_dataset(project, lake, LATER, tmp_path / "dataset").manifest
    train, test = (pq.read_table(tmp_path / "dataset" / part.file) for part in (manifest.train, manifest.test))
    assert manifest.split == "stratified"
    assert set(train["dt"].to_pylist()) | set(test["dt"].to_pylist()) == {LATER}
    assert train.num_rows + test.num_rows == 440
    assert not set(train["customer_id"].to_pylist()) & set(test["customer_id"].to_pylist())
    assert test.num_rows == pytest.approx(0.25 * 440, abs=1)
    assert manifest.test.positive_ratio == pytest.approx(manifest.train.positive_ratio, abs=0.01)


def test_folds_have_disjoint_customers_and_both_labels(lake: Lake, tmp_path: Path) -> None:
    project = flat_project()
    dataset = build_dataset(project, lake, DAY, tmp_path / "dataset")
    rows = load_rows(dataset, dataset.manifest.train, model_contract(project, dataset.manifest))
    splits = row_splits(rows, dataset.manifest, project.training)
    assert len(splits) == 3
    for split in splits:
        assert not (split.train & split.valid).any()
        assert (split.train | split.valid).all()
        assert len(np.unique(rows.churned[split.valid])) == 2


def test_rejects_data_without_labelled_day(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No day has labelled rows"):
        build_dataset(flat_project(), lake, DAY - dt.timedelta(days=1), tmp_path / "dataset")


def test_monitoring_compares_deliveries_without_performance(lake: Lake, tmp_path: Path) -> None:
    project = flat_project()
    write_flat_gold(lake, project, LATER, customers=90)
    dataset = build_dataset(project, lake, DAY, tmp_path / "dataset")
    contract = model_contract(project, dataset.manifest)
    assert judged_days(lake, LATER, 1) == [LATER]
    assert latest_rows(lake, contract, [LATER]).num_rows == 90
    found = realised_performance(lake, project, lambda version: None, LATER)
    assert (found.state, found.models, found.decayed) == ("not known", (), False)


def test_drift_requests_training_at_most_once_per_cooldown() -> None:
    project = flat_project()
    found = {"drift": {"drifted": True, "reason": "moved."}, "sources": [], "performance": {"decayed": False}}

    def requests(ahead: int, requested: int | None = None) -> bool:
        day, other = (DAY + dt.timedelta(days=days) for days in (ahead, requested or ahead))
        return retrain_decision(project, found, SavingChange(100, 50), DAY, day, [other]).reason is not None

    assert [requests(6), requests(7)] == [False, True]
    assert [requests(12, requested=10), requests(16, requested=10), requests(17, requested=10)] == [False, False, True]


@pytest.mark.slow
def test_champion_is_compared_on_a_later_delivery(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(home=tmp_path, project="telecom", mlflow={"tracking_uri": f"sqlite:///{tmp_path}/mlflow.db"})
    project = flat_project()
    first = build_dataset(project, lake, DAY, tmp_path / "first")
    trained = train_challenger(settings, first.folder)
    assert trained.metrics["auc"] > 0.75
    assert promote(settings, project, trained.model_version).promoted
    bundle = Registry(settings).bundle(trained.model_version)
    assert (bundle.contract.horizon_days, bundle.contract.trained_through) == (0, DAY)
    card = mlflow.artifacts.load_text(f"runs:/{trained.run_id}/model_card.md")
    assert "The metrics assume that future customers are similar." in card
    assert "3 stratified folds" in card
    assert "time folds" not in card

    write_flat_gold(lake, project, LATER, seed=4)
    second = build_dataset(project, lake, LATER, tmp_path / "second", champion_recipe(settings))
    promotion = promote(settings, project, train_challenger(settings, second.folder).model_version)
    assert promotion.comparison is not None
    assert promotion.comparison.champion_version == trained.model_version
    assert promotion.comparison.kind in ("new_recipe", "refresh")
    assert promotion.promoted, promotion.reason
