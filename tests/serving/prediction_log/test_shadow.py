"""The shadow scores the champion's input, and its failures do not affect the champion."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from include.serving.prediction_log.collect import collect_predictions
from include.serving.prediction_log.shadow import Shadow, ShadowError
from include.training.model.bundle import Bundle
from include.training.model.contract import FeatureContract
from tests.serving.conftest import ROWS, synthetic_columns, train_bundle
from tests.serving.prediction_log.logs import group, log_all, rows_of, settings_in
from tests.training.contracts import contract_of

SEGMENTS = ("family", "senior", "young")


def challenger(names: list[str], categories: tuple[str, ...]) -> Bundle:
    """Train a model on some of the champion's features, in another order and with other categories."""
    features = [
        FeatureContract(name=name, dtype="category", nullable=True, categories=categories)
        if name == "segment"
        else FeatureContract(name=name, dtype="number", nullable=True)
        for name in names
    ]
    contract = contract_of(*features, threshold=0.6)
    columns = {name: values for name, values in synthetic_columns(ROWS, 3).items() if name in names}
    churned = np.random.default_rng(1).integers(0, 2, ROWS)
    data = xgb.DMatrix(contract.encode(columns), label=churned)
    return Bundle(contract, xgb.train({"objective": "binary:logistic", "nthread": 1, "seed": 1}, data, 10))


@hypothesis_settings(max_examples=25, deadline=None)
@given(
    names=st.permutations(["recency_days", "spend_30d", "copy", "segment"]),
    kept=st.integers(1, 4),
    categories=st.lists(st.sampled_from([*SEGMENTS, "new"]), min_size=1, unique=True),
    seed=st.integers(0, 1000),
)
def test_shadow_scores_equal_those_of_a_direct_request(
    names: list[str], kept: int, categories: list[str], seed: int
) -> None:
    champion, own = train_bundle(), challenger(names[:kept], tuple(categories))
    columns = synthetic_columns(20, seed)
    own_columns = {name: values for name, values in columns.items() if name in names[:kept]}
    found = Shadow(own, "8", champion.contract).score(champion.contract.encode(columns))
    np.testing.assert_array_equal(found, own.predict(own_columns))


def test_shadow_scores_are_logged_beside_the_answer(bundle: Bundle, tmp_path: Path) -> None:
    own = challenger(["segment", "spend_30d"], SEGMENTS)
    own.save(tmp_path / "shadow")
    settings = settings_in(tmp_path, shadow_bundle=str(tmp_path / "shadow"))
    answers = group(bundle, ["a", "b", "c"])
    log_all(bundle, settings, answers)
    collect_predictions(settings)
    columns = synthetic_columns(3, 5)
    expected = own.predict({name: columns[name] for name in ("segment", "spend_30d")})
    rows = rows_of(settings)
    assert [row["churn_probability"] for row in rows] == answers.probabilities.tolist()
    assert [row["shadow_probability"] for row in rows] == expected.tolist()
    assert [row["shadow_prediction"] for row in rows] == [own.contract.decide(p) for p in expected.tolist()]
    assert {(row["model_version"], row["shadow_version"]) for row in rows} == {("7", "8")}


@pytest.mark.parametrize("dtype", ["absent", "of another type"])
def test_shadow_with_a_feature_that_the_champion_lacks_is_refused(bundle: Bundle, dtype: str) -> None:
    name = "segment" if dtype == "of another type" else "shoe_size"
    own = Bundle(contract_of(FeatureContract(name=name, dtype="number", nullable=True)), bundle.booster)
    with pytest.raises(ShadowError, match=name):
        Shadow(own, "8", bundle.contract)


def test_damaged_shadow_is_logged_and_answers_are_kept(
    bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle.save(tmp_path / "shadow")
    (tmp_path / "shadow" / "model.ubj").write_bytes(b"not a booster")
    settings = settings_in(tmp_path, shadow_bundle=str(tmp_path / "shadow"))
    before = REGISTRY.get_sample_value("ml_shadow_refused_total") or 0
    with caplog.at_level(logging.ERROR):
        log_all(bundle, settings, group(bundle, ["a"]))
    collect_predictions(settings)
    (row,) = rows_of(settings)
    assert (row["customer_id"], row["shadow_version"], row["shadow_probability"]) == ("a", None, None)
    assert REGISTRY.get_sample_value("ml_shadow_refused_total") == before + 1
    assert "shadow refused" in [record.getMessage() for record in caplog.records]


def test_shadow_is_skipped_when_it_falls_behind(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "shadow")
    settings = settings_in(tmp_path, shadow_bundle=str(tmp_path / "shadow"), max_waiting_rows=4, flush_seconds=60)
    log_all(bundle, settings, group(bundle, ["a", "b", "c"]))
    collect_predictions(settings)
    assert [row["shadow_probability"] for row in rows_of(settings)] == [None] * 3
