"""Whatever bytes arrive as Arrow are read or refused."""

from __future__ import annotations

from contextlib import suppress

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.serving.endpoint.batch_arrow import ArrowBatchReader
from include.serving.endpoint.requests import RefusalError
from include.training.model.contract import FeatureContract
from tests.serving.conftest import synthetic_columns
from tests.training.contracts import contract_of

CONTRACT = contract_of(
    FeatureContract(name="recency_days", dtype="number", nullable=False, minimum=0),
    FeatureContract(name="spend_30d", dtype="number", nullable=False),
    FeatureContract(name="copy", dtype="number", nullable=True),
    FeatureContract(name="segment", dtype="category", nullable=False, categories=("family", "senior", "young")),
)
READER = ArrowBatchReader(CONTRACT, refuse_out_of_range=True, max_rows=100)


def stream() -> bytes:
    columns = synthetic_columns(20, seed=1)
    table = pa.table({"customer_id": [str(row) for row in range(20)], **columns})
    table = table.set_column(4, "segment", table["segment"].combine_chunks().dictionary_encode())
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


STREAM = stream()


def test_the_stream_itself_is_read() -> None:
    assert READER.read(STREAM).matrix.shape == (20, 4)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(STREAM) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_stream_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    body = bytearray(STREAM)
    for position, byte in changes:
        body[position] = byte
    with suppress(RefusalError):
        batch = READER.read(bytes(body))
        assert batch.matrix.shape == (len(batch.customer_ids), 4)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(STREAM) - 1))
def test_stream_that_is_cut_off_is_read_or_refused(length: int) -> None:
    with pytest.raises(RefusalError) as refused:
        READER.read(STREAM[:length])
    assert refused.value.response.status_code in {400, 422}
