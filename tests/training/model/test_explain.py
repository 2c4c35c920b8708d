"""Explanations: contributions that sum to the prediction, and their texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit, logit

from include.training.model.bundle import Bundle
from include.training.model.calibrator import Calibrator
from include.training.model.contract import FeatureContract
from include.training.model.explain import MISSING, Explanation, contributions, explain
from tests.training.contracts import contract_of

PLANS = ("basic", "standard", "premium")
CONTRACT = contract_of(
    FeatureContract(
        name="recency",
        dtype="number",
        nullable=True,
        description="Since the last purchase, within 84 days",
        unit="days",
    ),
    FeatureContract(
        name="spend_7d", dtype="number", nullable=False, description="Spent in 7 days", topic="spending", unit="$"
    ),
    FeatureContract(
        name="spend_28d", dtype="number", nullable=False, description="Spent in 28 days", topic="spending", unit="$"
    ),
    FeatureContract(name="plan", dtype="category", nullable=True, categories=PLANS, description="The plan"),
    FeatureContract(name="noise", dtype="number", nullable=False),
    project="shop",
    run_id="",
)


def _fitted() -> Bundle:
    rng = np.random.default_rng(3)
    rows = 600
    spend = rng.gamma(2.0, 50.0, rows)
    matrix = np.column_stack(
        [
            rng.integers(0, 84, rows),
            spend * rng.uniform(0, 0.5, rows),
            spend,
            rng.integers(0, 3, rows),
            rng.normal(0, 1, rows),
        ]
    ).astype(np.float32)
    matrix[rng.random(rows) < 0.1, 0] = np.nan
    risk = expit(0.08 * np.nan_to_num(matrix[:, 0], nan=84) - 0.03 * spend - (matrix[:, 3] == 2))
    labels = (rng.random(rows) < risk).astype(int)
    names = CONTRACT.feature_names
    parameters = {"objective": "binary:logistic", "max_depth": 4, "seed": 1, "nthread": 1}
    booster = xgb.train(parameters, xgb.DMatrix(matrix, labels, feature_names=names), 30)
    return Bundle(CONTRACT, booster, calibrator=Calibrator(method="logistic", slope=0.8, intercept=-0.3))


BUNDLE = _fitted()
CURVES = (
    BUNDLE.calibrator,
    Calibrator(),
    Calibrator(method="beta", slope=0.4, high_slope=1.3, intercept=0.2),
    Calibrator(method="isotonic", knots=((-2.0, -3.0), (-0.5, -0.4), (1.0, -0.2), (3.0, 2.5))),
    Calibrator(method="base_rate", slope=0.0, intercept=-1.2),
)


def encoded(**columns: float | str | None) -> NDArray[np.float32]:
    usual: dict[str, float | str | None] = {
        "recency": 5.0,
        "spend_7d": 25.0,
        "spend_28d": 100.0,
        "plan": "basic",
        "noise": 0.0,
    }
    return CONTRACT.encode({name: [value] for name, value in (usual | columns).items()})


def only(top: int = 3, **columns: float | str | None) -> Explanation:
    (explanation,) = explain(BUNDLE, encoded(**columns), top)
    return explanation


amounts = st.floats(-1e6, 1e6, width=32)
rows = st.fixed_dictionaries(
    {
        "recency": st.none() | amounts,
        "spend_7d": amounts,
        "spend_28d": amounts,
        "plan": st.sampled_from([None, *PLANS]),
        "noise": amounts,
    }
)


@settings(max_examples=60, deadline=None)
@given(columns=rows, calibrator=st.sampled_from(CURVES))
def test_contributions_sum_to_log_odds(columns: dict[str, float | str | None], calibrator: Calibrator) -> None:
    matrix, bundle = encoded(**columns), replace(BUNDLE, calibrator=calibrator)
    added, raw = contributions(bundle, matrix), contributions(replace(BUNDLE, calibrator=Calibrator()), matrix)
    assert added.sum() == pytest.approx(logit(float(bundle.predict_matrix(matrix)[0])), abs=1e-3)
    assert (added[:, :-1] * raw[:, :-1] >= 0).all(), "a contribution keeps its direction"


def test_model_without_ranking_has_no_reasons() -> None:
    constant = replace(BUNDLE, calibrator=CURVES[-1])
    assert explain(constant, encoded(recency=60.0)) == [Explanation((), ())]


@pytest.mark.parametrize(
    ("unit", "number", "text"),
    [
        ("", 2.5, "2.5"),
        ("days", 1.0, "1 day"),
        ("days", 0.0, "0 days"),
        ("$", -1234.5, "-$1,234"),
        ("€", 12.0, "€12"),
        ("%", 0.256, "25.6%"),
        ("%", 1.0, "100%"),
        ("minutes", 90.0, "90 minutes"),
    ],
)
def test_number_has_its_unit(unit: str, number: float, text: str) -> None:
    feature = FeatureContract(name="recency", dtype="number", nullable=True, description="Value", unit=unit)
    contract = CONTRACT.model_copy(update={"features": (feature, *CONTRACT.features[1:])})
    matrix = encoded(recency=number)
    explanation = explain(replace(BUNDLE, contract=contract), matrix, top=5)[0]
    texts = {reason.feature: reason.text for reason in (*explanation.raises, *explanation.lowers)}
    assert texts["recency"] == f"Value: {text}"


def test_base_is_equal_for_all_customers() -> None:
    both = np.vstack([encoded(), encoded(recency=80.0, plan=None)])
    base = contributions(BUNDLE, both)[:, -1]
    assert base[0] == base[1]


def test_reason_text_has_description_and_value() -> None:
    long_gone = only(recency=60.0, spend_28d=1234.5, plan="premium")
    assert long_gone.raises[0].text == "Since the last purchase, within 84 days: 60 days"
    assert (long_gone.raises[0].feature, long_gone.raises[0].value) == ("recency", 60.0)
    text = {reason.feature: reason.text for reason in long_gone.lowers}
    assert text["plan"] == "The plan: premium"
    assert text["spend_28d"] == "Spent in 28 days: $1,234"


def test_missing_value_has_its_own_text() -> None:
    reason = only(recency=None).raises[0]
    assert (reason.feature, reason.value) == ("recency", None)
    assert reason.text == f"Since the last purchase, within 84 days: {MISSING}"


def test_features_of_a_topic_are_one_reason() -> None:
    matrix = encoded(spend_7d=1.0, spend_28d=2.0)
    added = dict(zip(CONTRACT.feature_names, contributions(BUNDLE, matrix)[0], strict=False))
    reasons = explain(BUNDLE, matrix, top=5)[0]
    spending = [reason for reason in (*reasons.raises, *reasons.lowers) if reason.feature.startswith("spend")]
    assert len(spending) == 1
    assert spending[0].contribution == pytest.approx(added["spend_7d"] + added["spend_28d"])


def test_reasons_are_sorted_by_contribution() -> None:
    matrix = np.vstack([encoded(recency=float(days), spend_28d=float(days * 3)) for days in range(0, 84, 4)])
    for explanation in explain(BUNDLE, matrix, top=2):
        raised = [reason.contribution for reason in explanation.raises]
        lowered = [reason.contribution for reason in explanation.lowers]
        assert raised == sorted(raised, reverse=True)
        assert lowered == sorted(lowered)
        assert all(added > 0 for added in raised)
        assert all(added < 0 for added in lowered)
        assert max(len(raised), len(lowered)) <= 2


def test_no_rows_have_no_explanations() -> None:
    assert explain(BUNDLE, np.empty((0, 5), dtype=np.float32)) == []
