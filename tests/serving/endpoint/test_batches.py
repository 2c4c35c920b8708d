"""Batches in JSON and in Arrow at a real server."""

from __future__ import annotations

import datetime as dt
import json
import threading
from decimal import Decimal
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pytest

from include.retention.retention_list import retention_list
from include.training.model.bundle import Bundle
from tests.serving.conftest import synthetic_columns
from tests.serving.endpoint.servers import GOOD, PRIVATE, Served

pytestmark = pytest.mark.slow

ARROW = "application/vnd.apache.arrow.stream"
DAY = dt.date(2017, 12, 18)


def stream_of(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def post(endpoint: Served, content: bytes | str, content_type: str = ARROW, **headers: str) -> httpx.Response:
    return endpoint.http.post("/predict_batch", content=content, headers={"Content-Type": content_type, **headers})


def post_json(endpoint: Served, customers: list[Any], columns: Any, **headers: str) -> httpx.Response:
    body = json.dumps({"customer_ids": customers, "features": columns})
    return post(endpoint, body, "application/json", **headers)


def table_of(response: httpx.Response) -> pa.Table:
    return pa.ipc.open_stream(response.content).read_all()


def gold_rows(rows: int, seed: int) -> pa.Table:
    """Return rows with the types of gold: integers, decimals, doubles with nulls, texts; and an unknown column."""
    columns = synthetic_columns(rows, seed)
    decimals = [Decimal(str(round(value, 2))) for value in columns["spend_30d"]]  # type: ignore[arg-type]
    return pa.table(
        {
            "customer_id": [f"customer-{row}" for row in range(rows)],
            "recency_days": pa.array([int(value) for value in columns["recency_days"]], pa.int32()),  # type: ignore[arg-type]
            "spend_30d": pa.array(decimals, pa.decimal128(12, 2)),
            "copy": pa.array(columns["copy"], pa.float64()),
            "segment": pa.array(columns["segment"]),
            "unknown": pa.array(range(rows)),
        }
    )


def test_single_batch_and_retention_list_give_the_same_scores(endpoint: Served, bundle: Bundle) -> None:
    gold = gold_rows(60, seed=21)
    listed = retention_list(DAY, gold, bundle, "7", reasons_for=0)
    expected = dict(zip(listed["customer_id"].to_pylist(), listed["churn_probability"].to_pylist(), strict=True))
    decided = dict(zip(listed["customer_id"].to_pylist(), listed["prediction"].to_pylist(), strict=True))
    sent = gold.drop_columns(["unknown"])
    columns = {
        name: [float(value) if isinstance(value, Decimal) else value for value in sent[name].to_pylist()]
        for name in bundle.contract.feature_names
    }
    customers = gold["customer_id"].to_pylist()

    by_json = post_json(endpoint, customers, columns).json()
    assert by_json["customer_ids"] == customers
    by_arrow = table_of(post(endpoint, stream_of(sent))).to_pydict()
    assert by_arrow["customer_id"] == customers
    assert by_json["model_version"] == by_arrow["model_version"][0] == "7"
    for row, customer in enumerate(customers):
        features = {name: columns[name][row] for name in columns}
        single = endpoint.http.post("/predict", json={"customer_id": customer, "features": features}).json()
        scores = [single["churn_probability"], by_json["churn_probabilities"][row], by_arrow["churn_probability"][row]]
        assert scores == pytest.approx([expected[customer]] * 3, abs=1e-6)
        assert single["prediction"] == by_json["predictions"][row] == by_arrow["prediction"][row] == decided[customer]


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint8(), pa.float32(), pa.float64(), pa.decimal256(30, 3)])
def test_numbers_of_any_width_are_read(endpoint: Served, kind: pa.DataType) -> None:
    columns = {name: pa.array([value]) for name, value in GOOD.items()} | {"recency_days": pa.array([12]).cast(kind)}
    segment = columns["segment"].dictionary_encode()
    answer = table_of(post(endpoint, stream_of(pa.table({"customer_id": ["x"], **columns, "segment": segment}))))
    assert answer["churn_probability"].to_pylist() == [endpoint.predict().json()["churn_probability"]]


@pytest.mark.parametrize(
    ("sent_as", "accept", "returned_as"),
    [
        ("json", "*/*", "application/json"),
        ("json", ARROW, ARROW),
        ("arrow", "*/*", ARROW),
        ("arrow", "application/json", "application/json"),
    ],
)
def test_accept_chooses_the_format_of_the_response(
    endpoint: Served, sent_as: str, accept: str, returned_as: str
) -> None:
    columns = {name: [value] for name, value in GOOD.items()}
    if sent_as == "json":
        response = post_json(endpoint, ["x"], columns, Accept=accept)
    else:
        response = post(endpoint, stream_of(pa.table({"customer_id": ["x"], **columns})), Accept=accept)
    assert (response.status_code, response.headers["Content-Type"]) == (200, returned_as)


def test_batch_of_many_chunks_keeps_its_order(endpoint: Served, bundle: Bundle) -> None:
    rows = 3500
    columns = synthetic_columns(rows, seed=4)
    customers = [str(row) for row in range(rows)]
    answer = table_of(post(endpoint, stream_of(pa.table({"customer_id": customers, **columns}))))
    assert answer["customer_id"].to_pylist() == customers
    np.testing.assert_allclose(np.asarray(answer["churn_probability"]), bundle.predict(columns), atol=1e-6)


BAD_CELLS = [
    pytest.param("recency_days", None, id="null, not nullable"),
    pytest.param("recency_days", float("nan"), id="NaN"),
    pytest.param("recency_days", float("inf"), id="Infinity"),
    pytest.param("spend_30d", 1e39, id="beyond float32"),
    pytest.param("copy", -1e39, id="beyond float32, nullable"),
    pytest.param("copy", float("nan"), id="NaN, nullable"),
    pytest.param("recency_days", -1.0, id="below the minimum"),
    pytest.param("segment", PRIVATE, id="unknown category"),
    pytest.param("segment", None, id="null category"),
]


@pytest.mark.parametrize(("name", "value"), BAD_CELLS)
def test_error_names_the_row_of_an_invalid_value_with_the_reason_of_a_single_request(
    endpoint: Served, name: str, value: Any
) -> None:
    columns: dict[str, list[Any]] = {key: [good] * 5 for key, good in GOOD.items()}
    columns[name][3] = value
    single = endpoint.http.post("/predict", content=json.dumps({"customer_id": "x", "features": GOOD | {name: value}}),
                                headers={"Content-Type": "application/json"})  # fmt: skip
    reason = single.json()["error"]["fields"][0]["reason"]
    by_json = post_json(endpoint, list("abcde"), columns)
    by_arrow = post(endpoint, stream_of(pa.table({"customer_id": list("abcde"), **columns})))
    for response in (by_json, by_arrow):
        assert response.status_code == 422
        assert response.json()["error"]["fields"] == [{"field": f"features.{name}.3", "reason": reason}]
        assert PRIVATE not in response.text


@pytest.mark.parametrize(
    ("name", "value"), [("recency_days", "12"), ("recency_days", True), ("recency_days", [1]), ("segment", 1)]
)
def test_error_names_a_value_of_another_type(endpoint: Served, name: str, value: Any) -> None:
    columns: dict[str, list[Any]] = {key: [good] * 2 for key, good in GOOD.items()}
    columns[name][1] = value
    assert [problem["field"] for problem in post_json(endpoint, ["a", "b"], columns).json()["error"]["fields"]] == [
        f"features.{name}.1"
    ]
    columns[name] = [value, value]
    response = post(endpoint, stream_of(pa.table({"customer_id": ["a", "b"], **columns})))
    assert response.status_code == 422
    assert [problem["field"] for problem in response.json()["error"]["fields"]] == [f"features.{name}"]


def test_error_names_only_the_first_invalid_row_of_each_field(endpoint: Served) -> None:
    columns = {name: [PRIVATE if name != "segment" else 1] * 1000 for name in GOOD}
    response = post_json(endpoint, [""] * 1000, columns)
    fields = [problem["field"] for problem in response.json()["error"]["fields"]]
    assert fields == ["customer_ids.0", *(f"features.{name}.0" for name in GOOD)]
    assert len(response.content) < 2000


def test_error_names_missing_and_unknown_columns(endpoint: Served) -> None:
    columns = {name: [value] for name, value in GOOD.items() if name != "copy"} | {"shoe_size": [43]}
    by_json = post_json(endpoint, ["x"], columns).json()["error"]["fields"]
    by_arrow = post(endpoint, stream_of(pa.table({"customer_id": ["x"], **columns}))).json()["error"]["fields"]
    assert {problem["field"] for problem in by_json} == {"features.copy", "features.shoe_size"}
    assert {problem["field"] for problem in by_arrow} == {"features.copy", "shoe_size"}


def test_error_names_lists_of_different_lengths(endpoint: Served) -> None:
    columns = {name: [value, value] for name, value in GOOD.items()} | {"copy": [1.0]}
    error = post_json(endpoint, ["a", "b"], columns).json()["error"]
    assert [problem["field"] for problem in error["fields"]] == ["features.copy"]


def test_error_names_the_row_of_an_invalid_customer_id(endpoint: Served) -> None:
    columns = {name: [value] * 3 for name, value in GOOD.items()}
    for customers in (["a", "", "c"], ["a", "x" * 129, "c"], ["a", None, "c"]):
        by_json = post_json(endpoint, customers, columns).json()["error"]["fields"]
        by_arrow = post(endpoint, stream_of(pa.table({"customer_id": customers, **columns}))).json()["error"]["fields"]
        assert [problem["field"] for problem in by_json] == ["customer_ids.1"]
        assert [problem["field"] for problem in by_arrow] == ["customer_id.1"]


@pytest.mark.parametrize("rows", [0, 5001])
def test_number_of_rows_is_bounded(endpoint: Served, rows: int) -> None:
    columns = {name: [value] * rows for name, value in GOOD.items()}
    schema = pa.schema({"customer_id": pa.string(), **{n: pa.array([v]).type for n, v in GOOD.items()}})
    table = pa.table({"customer_id": ["x"] * rows, **columns}, schema=schema)
    for response in (post_json(endpoint, ["x"] * rows, columns), post(endpoint, stream_of(table))):
        assert response.status_code == 422
        assert response.json()["error"]["fields"][0]["field"] in {"customer_ids", "customer_id"}


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_compressed_stream_is_rejected(endpoint: Served, compression: str) -> None:
    table = pa.table({"customer_id": ["x"] * 1000, **{name: [value] * 1000 for name, value in GOOD.items()}})
    response = post(endpoint, stream_of(table, compression=compression))
    assert (response.status_code, response.json()["error"]["kind"]) == (415, "unsupported_media_type")
    dictionary = table.set_column(4, "segment", pa.array(["family", "senior"] * 500).dictionary_encode())
    assert post(endpoint, stream_of(dictionary, compression=compression)).status_code == 415
    assert post(endpoint, stream_of(table)).status_code == 200


def test_error_names_a_repeated_key(endpoint: Served) -> None:
    body = json.dumps({"customer_ids": ["x"], "features": {name: [value] for name, value in GOOD.items()}})
    twice = body.replace('"copy": [3]', '"copy": [1], "copy": [3]')
    response = post(endpoint, twice, "application/json")
    assert response.status_code == 422
    assert response.json()["error"]["fields"] == [{"field": "features.copy", "reason": "The key is repeated."}]


@pytest.mark.parametrize(
    ("content", "content_type", "kind"),
    [
        pytest.param(b"", "application/json", "malformed_json", id="empty JSON"),
        pytest.param(b"{", "application/json", "malformed_json", id="truncated"),
        pytest.param(b"", ARROW, "malformed_arrow", id="empty Arrow"),
        pytest.param(b"ARROW1\0\0" + b"x" * 500, ARROW, "malformed_arrow", id="not a stream"),
        pytest.param(b"\xff\xff\xff\xff\xff\xff\xff\x7f", ARROW, "malformed_arrow", id="message of 2 GB"),
    ],
)
def test_malformed_body_is_rejected(endpoint: Served, content: bytes, content_type: str, kind: str) -> None:
    response = post(endpoint, content, content_type)
    assert (response.status_code, response.json()["error"]["kind"]) == (400, kind)


def test_single_requests_are_processed_beside_batches(endpoint: Served) -> None:
    columns = synthetic_columns(5000, seed=4)
    content = stream_of(pa.table({"customer_id": [str(row) for row in range(5000)], **columns}))
    statuses: list[int] = []
    singles_done = threading.Event()

    def send_batches() -> None:
        with httpx.Client(base_url=endpoint.url, timeout=60, trust_env=False) as http:
            while not singles_done.is_set():
                response = http.post("/predict_batch", content=content, headers={"Content-Type": ARROW})
                statuses.append(response.status_code)

    batches = threading.Thread(target=send_batches)
    batches.start()
    try:
        singles = [endpoint.predict().status_code for _ in range(50)]
    finally:
        singles_done.set()
        batches.join()
    assert set(singles) == set(statuses) == {200}


def test_each_row_of_a_batch_is_counted(endpoint: Served) -> None:
    before = endpoint.metric("ml_predictions_total")
    post_json(endpoint, list("abc"), {name: [value] * 3 for name, value in GOOD.items()})
    assert endpoint.metric("ml_predictions_total") - before == 3


def test_log_contains_no_value_of_a_request(endpoint: Served) -> None:
    post_json(endpoint, [PRIVATE], {name: [PRIVATE] for name in GOOD})
    log = endpoint.log.read_text()
    assert PRIVATE not in log
    assert "Traceback" not in log
    assert "request failed" not in log
