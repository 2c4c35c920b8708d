"""The columns of a segment equal those that ``pyarrow.array`` makes."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from include.serving.prediction_log.predictions import SEGMENT_COLUMNS, Predictions, segment_rows
from include.training.model.contract import FeatureContract
from tests.serving.prediction_log.logs import NOON
from tests.training.contracts import contract_of

CONTRACT = contract_of(
    FeatureContract(name="spend", dtype="number", nullable=True),
    FeatureContract(name="plan", dtype="category", nullable=True, categories=("a", "b")),
    threshold=0.5,
)
# A lone surrogate cannot be encoded in UTF-8.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ROW = st.tuples(TEXTS, st.floats(0, 1, width=32), st.none() | st.dates(), st.sampled_from([0.0, 1.0, np.nan]))


@given(st.lists(ROW, min_size=1, max_size=20))
def test_rows_equal_the_predictions(rows: list[tuple[str, float, dt.date | None, float]]) -> None:
    customers, probabilities, days, codes = (list(column) for column in zip(*rows, strict=True))
    matrix = np.array([probabilities, codes], dtype=np.float32).T
    found = segment_rows(CONTRACT, "7", [Predictions(customers, matrix, np.array(probabilities), NOON, days)])
    none = [None] * len(rows)
    expected = {
        "answered_at": [NOON] * len(rows),
        "customer_id": customers,
        "model_version": ["7"] * len(rows),
        "churn_probability": probabilities,
        "prediction": [CONTRACT.decide(probability) for probability in probabilities],
        "features_day": days,
        "shadow_version": none,
        "shadow_probability": none,
        "shadow_prediction": none,
        "number_spend": probabilities,
        "category_plan": [None if np.isnan(code) else "ab"[int(code)] for code in codes],
    }
    kinds = SEGMENT_COLUMNS | {"number_spend": pa.float32(), "category_plan": pa.string()}
    assert found.schema.names == list(expected)
    for name, values in expected.items():
        assert found[name].cast(kinds[name]).equals(pa.array(values, kinds[name])), name


def test_lone_surrogate_becomes_a_question_mark() -> None:
    matrix = np.zeros((3, 2), dtype=np.float32)
    rows = segment_rows(CONTRACT, "7", [Predictions(["a", "\ud800", "b"], matrix, np.zeros(3), NOON)])
    assert rows["customer_id"].to_pylist() == ["a", "?", "b"]
