"""Mutated Arrow streams at a real server: a response with a prediction or an error, no crash, no hang."""

from __future__ import annotations

from http import HTTPStatus

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.serving.conftest import synthetic_columns
from tests.serving.endpoint.servers import Served

pytestmark = pytest.mark.slow

ROWS = 20
# Far longer than any response takes, even on a busy machine.
TIMEOUT_SECONDS = 60
HEADERS = {"Content-Type": "application/vnd.apache.arrow.stream"}
TYPES = [
    pa.bool_(),
    pa.int8(),
    pa.float16(),
    pa.date32(),
    pa.timestamp("us"),
    pa.large_string(),
    pa.binary(),
    pa.null(),
]


def table() -> pa.Table:
    return pa.table({"customer_id": [str(row) for row in range(ROWS)], **synthetic_columns(ROWS, seed=1)})


def stream(content: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, content.schema) as writer:
        writer.write_table(content)
    return bytes(sink.getvalue().to_pybytes())


STREAM = stream(table())
FLIPS = st.lists(st.tuples(st.integers(0, len(STREAM) - 1), st.integers(1, 255)), max_size=6)


def status_of(endpoint: Served, body: bytes) -> int:
    """Return the status of a batch, and check the form of an error response."""
    response = endpoint.http.post("/predict_batch", content=body, headers=HEADERS, timeout=TIMEOUT_SECONDS)
    if response.status_code != HTTPStatus.OK:
        assert set(response.json()["error"]) == {"kind", "message", "fields"}
    return response.status_code


@settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(flips=FLIPS, cut=st.just(0) | st.integers(0, len(STREAM)))
@example(flips=[], cut=0)
def test_flipped_or_truncated_stream_gets_a_prediction_or_an_error(
    endpoint: Served, flips: list[tuple[int, int]], cut: int
) -> None:
    body = bytearray(STREAM)
    for position, mask in flips:
        body[position] ^= mask
    status = status_of(endpoint, bytes(body[: len(body) - cut]))
    assert status in {200, 400, 415, 422}
    if not flips and not cut:
        assert status == HTTPStatus.OK


@pytest.mark.parametrize("column", ["customer_id", "recency_days", "segment"])
@pytest.mark.parametrize("other", TYPES, ids=str)
def test_columns_of_other_types_are_rejected(endpoint: Served, column: str, other: pa.DataType) -> None:
    content = table()
    position = content.schema.get_field_index(column)
    changed = content.set_column(position, column, pa.nulls(ROWS, other))
    assert status_of(endpoint, stream(changed)) == HTTPStatus.UNPROCESSABLE_ENTITY


def test_server_predicts_after_mutated_streams(endpoint: Served) -> None:
    assert status_of(endpoint, STREAM) == HTTPStatus.OK
    assert "Traceback" not in endpoint.log.read_text()
