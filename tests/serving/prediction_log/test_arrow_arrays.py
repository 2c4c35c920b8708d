"""Columns from buffers are those that Arrow itself would make."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from include.serving.prediction_log import arrow_arrays

# Lone surrogates are no text: JSON in UTF-8 cannot hold them.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(TEXTS))
def test_texts(values: list[str]) -> None:
    assert arrow_arrays.texts(values).equals(pa.array(values, pa.string()))


def test_what_is_no_text_costs_no_other_row() -> None:
    assert arrow_arrays.texts(["a", "\ud800", "b"]).to_pylist() == ["a", "?", "b"]


@given(st.lists(st.none() | st.dates()))
def test_days(values: list) -> None:  # type: ignore[type-arg]
    assert arrow_arrays.days(values).equals(pa.array(values, pa.date32()))


@given(st.lists(st.booleans()))
def test_flags(values: list[bool]) -> None:
    assert arrow_arrays.flags(np.array(values, dtype=np.bool_)).equals(pa.array(values, pa.bool_()))


@given(st.integers(1, 20), st.integers(1, 5))
def test_vectors(rows: int, width: int) -> None:
    matrix = np.random.default_rng(rows).normal(size=(width, rows)).astype(np.float32).T
    assert arrow_arrays.vectors(matrix).to_pylist() == matrix.tolist()
