"""The reader of Arrow batches: any bytes are read or rejected with an error response."""

from __future__ import annotations

import json
from contextlib import suppress
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.serving.endpoint.batch_arrow import ArrowBatchReader
from include.serving.endpoint.errors import RequestError
from include.training.model.contract import FeatureContract
from tests.serving.conftest import synthetic_columns
from tests.training.contracts import contract_of

CONTRACT = contract_of(
    FeatureContract(name="recency_days", dtype="number", nullable=False, minimum=0),
    FeatureContract(name="spend_30d", dtype="number", nullable=False),
    FeatureContract(name="copy", dtype="number", nullable=True, maximum=0.3),
    FeatureContract(name="segment", dtype="category", nullable=True, categories=("family", "senior", "young")),
)
READER = ArrowBatchReader(CONTRACT, refuse_out_of_range=True, max_rows=100)


# A dictionary may contain null.
SEGMENTS = pa.DictionaryArray.from_arrays([row % 4 for row in range(20)], ["family", None, "senior", "young"])
DECIMALS = pa.array([Decimal("0.3"), None] * 10, pa.decimal128(38, 1))


def stream(**changes: pa.Array) -> bytes:
    columns = {**synthetic_columns(20, seed=1), "copy": DECIMALS, "segment": SEGMENTS, **changes}
    table = pa.table({"customer_id": [str(row) for row in range(20)], **columns})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


STREAM = stream()


def problems_of(**changes: pa.Array) -> list[str]:
    with pytest.raises(RequestError) as caught:
        READER.read(stream(**changes))
    assert caught.value.response.status_code == 422
    return [problem["field"] for problem in json.loads(caught.value.response.body)["error"]["fields"]]


def test_valid_stream_is_read() -> None:
    assert READER.read(STREAM).matrix.shape == (20, 4)


def test_null_inside_a_dictionary_is_null() -> None:
    codes = READER.read(STREAM).matrix[:, 3]
    np.testing.assert_array_equal(codes, np.array([0, np.nan, 1, 2] * 5, dtype=np.float32))
    customers = pa.DictionaryArray.from_arrays(range(20), [None, *(str(row) for row in range(1, 20))])
    assert problems_of(customer_id=customers) == ["customer_id.0"]


@pytest.mark.parametrize("kind", [pa.decimal32(5, 1), pa.decimal64(9, 1), pa.decimal128(38, 1), pa.decimal256(76, 1)])
def test_decimal_equal_to_the_maximum_is_in_range(kind: pa.DataType) -> None:
    values_at_maximum = [Decimal("0.3"), Decimal("-0.1"), None, Decimal("0.3")] * 5
    values = READER.read(stream(copy=pa.array(values_at_maximum, kind))).matrix[:, 2]
    np.testing.assert_array_equal(values[:4], np.array([0.3, -0.1, np.nan, 0.3], dtype=np.float32))
    assert problems_of(copy=pa.array([*values_at_maximum[:7], Decimal("0.4"), *values_at_maximum[8:]], kind)) == [
        "features.copy.7"
    ]


@pytest.mark.parametrize("scale", [-400, -39, 39, 400, 100_000])
def test_decimal_with_an_impossible_scale_is_rejected(scale: int) -> None:
    """Arrow would read beyond the end of its table of powers of ten."""
    kind = pa.decimal128(38, scale)
    values = pa.Array.from_buffers(kind, 20, [None, pa.py_buffer(bytes(16 * 20))])
    assert problems_of(copy=values) == ["features.copy"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(STREAM) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_stream_is_read_or_rejected(changes: list[tuple[int, int]]) -> None:
    body = bytearray(STREAM)
    for position, byte in changes:
        body[position] = byte
    with suppress(RequestError):
        batch = READER.read(bytes(body))
        assert batch.matrix.shape == (len(batch.customer_ids), 4)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(STREAM) - 1))
def test_truncated_stream_is_rejected(length: int) -> None:
    with pytest.raises(RequestError) as caught:
        READER.read(STREAM[:length])
    assert caught.value.response.status_code in {400, 422}
