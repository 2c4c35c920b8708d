"""Batches of ``benchmarks/serving.py``: predictions per second in JSON columns and in Arrow, and if they are right."""

from __future__ import annotations

import json

import httpx
import numpy as np
import pyarrow as pa

from benchmarks.serving_contenders import Contender
from benchmarks.serving_model import NAMES, Model
from include.serving.load_test.generator import Target, generate_load
from include.training.model.bundle import PREDICTION_TOLERANCE

ROWS = 1_000
# One is on its way while the other is scored.
_CONNECTIONS = 2
_ARROW = "application/vnd.apache.arrow.stream"
_JSON = "application/json"
_PATH = "/predict_batch"


def batch_rows_per_second(contender: Contender, model: Model, seconds: float) -> dict[str, float]:
    """Return the predictions per second in batches of ``ROWS``, by the batch's form.

    Raises:
        RuntimeError: An answer is not what the model says, or a batch failed.
    """
    target = Target.parse(contender.url)
    found = {}
    for name, content_type, body in (("json", _JSON, _json_batch(model)), ("arrow", _ARROW, _arrow_batch(model))):
        _require_right(contender, model, content_type, body)
        run = generate_load(target, [target.post(_PATH, body, content_type)], _CONNECTIONS, seconds)
        if run.failed:
            raise RuntimeError(f"Batches in {name} failed: {run.errors}")
        found[name] = run.per_second * ROWS
    return found


def _customers(model: Model) -> dict[str, list[float]]:
    rows = model.rows()
    return {name: [rows[i % len(rows)][name] for i in range(ROWS)] for name in NAMES}


def _json_batch(model: Model) -> bytes:
    ids = [f"customer-{i}" for i in range(ROWS)]
    return json.dumps({"customer_ids": ids, "features": _customers(model)}, separators=(",", ":")).encode()


def _arrow_batch(model: Model) -> bytes:
    table = pa.table({"customer_id": [f"customer-{i}" for i in range(ROWS)], **_customers(model)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue())


def _require_right(contender: Contender, model: Model, content_type: str, body: bytes) -> None:
    headers = {"Content-Type": content_type, "Accept": _JSON}
    answer = httpx.post(contender.url + _PATH, content=body, headers=headers, timeout=30, trust_env=False)
    answered = np.array(answer.raise_for_status().json()["churn_probabilities"])
    expected = np.resize(model.probabilities(), ROWS)
    if not np.allclose(answered, expected, rtol=0, atol=PREDICTION_TOLERANCE):
        raise RuntimeError(f"A batch sent as {content_type} was answered otherwise than the model says.")
