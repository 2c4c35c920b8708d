"""Requests without features: a real server, a real online store."""

from __future__ import annotations

import asyncio
import datetime as dt
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import lmdb
import pyarrow as pa
import pytest

from include.serving.endpoint.errors import RequestError
from include.serving.endpoint.predict import StoredFeatures
from include.serving.online_store import OnlineStore, open_store
from include.serving.online_store.row_format import DAY_BYTES
from include.settings import Settings
from include.training.model.bundle import Bundle
from tests.serving.conftest import synthetic_columns
from tests.serving.endpoint.servers import GOOD, Served

TODAY = dt.datetime.now(dt.UTC).date()
LONG_AGO = dt.date(2017, 12, 18)


@pytest.fixture
def store(settings: Settings) -> Iterator[OnlineStore]:
    store = open_store(settings)
    assert store is not None
    yield store
    asyncio.run(store.close())
    shutil.rmtree(settings.home / "online_store", ignore_errors=True)


def predict_by_id(endpoint: Served, customer_id: str) -> httpx.Response:
    return endpoint.http.post("/predict", json={"customer_id": customer_id})


def rows_of(customers: list[str], columns: dict[str, list[float | str | None]]) -> pa.Table:
    return pa.table({"customer_id": customers, **columns})


@pytest.mark.slow
def test_newest_stored_features_are_used(endpoint: Served, store: OnlineStore, bundle: Bundle) -> None:
    columns = synthetic_columns(20, seed=5)
    customers = [f"customer-{row}" for row in range(20)]
    store.put_day(TODAY, rows_of(customers, columns))
    store.put_day(LONG_AGO, rows_of(customers, synthetic_columns(20, seed=6)))
    for customer, expected in zip(customers, bundle.predict(columns).tolist(), strict=True):
        prediction = predict_by_id(endpoint, customer).json()
        assert prediction == {
            "customer_id": customer,
            "churn_probability": pytest.approx(expected, abs=1e-6),
            "prediction": bundle.contract.decide(expected),
            "model_version": "7",
            "features_day": TODAY.isoformat(),
        }


@pytest.mark.slow
def test_old_features_are_stale(endpoint: Served, store: OnlineStore) -> None:
    store.put_day(LONG_AGO, rows_of(["old"], synthetic_columns(1, seed=5)))
    prediction = predict_by_id(endpoint, "old").json()
    assert (prediction["features_day"], prediction["stale"]) == ("2017-12-18", True)


@pytest.mark.slow
def test_unknown_customer_is_not_found(endpoint: Served, store: OnlineStore) -> None:
    store.put_day(TODAY, rows_of(["known"], synthetic_columns(1, seed=5)))
    response = predict_by_id(endpoint, "unknown")
    assert (response.status_code, response.json()["error"]["kind"]) == (404, "unknown_customer")


@pytest.mark.slow
def test_stored_values_are_read_as_for_the_retention_list(endpoint: Served, store: OnlineStore, bundle: Bundle) -> None:
    columns: dict[str, list[float | str | None]] = {
        "recency_days": [-5.0, None],  # below the contract's minimum; null, although not nullable
        "spend_30d": [1.0, 2.0],
        "copy": [None, 3.0],
        "segment": ["unknown", None],
    }
    store.put_day(TODAY, rows_of(["a", "b"], columns))
    metric = 'ml_feature_out_of_range_total{feature="recency_days"}'
    before = endpoint.metric(metric)
    for customer, expected in zip("ab", bundle.predict(columns).tolist(), strict=True):
        assert predict_by_id(endpoint, customer).json()["churn_probability"] == pytest.approx(expected, abs=1e-6)
    assert endpoint.metric(metric) - before == 1


@pytest.mark.slow
def test_error_names_stored_features_that_the_model_cannot_read(endpoint: Served, store: OnlineStore) -> None:
    columns = {"recency_days": ["text"], "spend_30d": [1e300], "copy": [1.0], "something": [1.0], "segment": ["young"]}
    store.put_day(TODAY, rows_of(["a"], columns))  # type: ignore[arg-type]
    response = predict_by_id(endpoint, "a")
    error = response.json()["error"]
    assert (response.status_code, error["kind"]) == (503, "stored_features_unfit")
    assert [problem["field"] for problem in error["fields"]] == ["features.recency_days", "features.spend_30d"]


@pytest.mark.slow
def test_missing_store_is_unavailable_until_it_exists(endpoint: Served, store: OnlineStore) -> None:
    logged = len(endpoint.log.read_text())
    response = predict_by_id(endpoint, "a")
    assert (response.status_code, response.json()["error"]["kind"]) == (503, "online_store_unavailable")
    assert endpoint.predict().status_code == 200
    store.put_day(TODAY, rows_of(["a"], synthetic_columns(1, seed=5)))
    assert predict_by_id(endpoint, "a").status_code == 200
    log = endpoint.log.read_text()[logged:]
    assert "online store unavailable" in log
    assert "online store available again" in log


def _make_unreadable(folder: Path) -> None:
    data = folder / "data.mdb"
    data.unlink()
    data.symlink_to(data)


def _write_an_impossible_day(folder: Path) -> None:
    with lmdb.open(str(folder), max_dbs=2) as env, env.begin(write=True) as txn:
        customers = env.open_db(b"customers", txn)
        row = txn.get(b"customer-1", db=customers)
        txn.put(b"customer-1", b"\xff" * DAY_BYTES + row[DAY_BYTES:], db=customers)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [_make_unreadable, _write_an_impossible_day])
def test_damaged_or_unreadable_store_is_unavailable(
    endpoint: Served, store: OnlineStore, settings: Settings, damage: Callable[[Path], None]
) -> None:
    store.put_day(TODAY, rows_of(["customer-1"], synthetic_columns(1, seed=5)))
    assert predict_by_id(endpoint, "customer-1").status_code == 200
    logged = len(endpoint.log.read_text())
    damage(settings.home / "online_store" / "synthetic")
    response = predict_by_id(endpoint, "customer-1")
    assert (response.status_code, response.json()["error"]["kind"]) == (503, "online_store_unavailable")
    log = endpoint.log.read_text()[logged:]
    assert "online store unavailable" in log
    assert "customer-1" not in log


@pytest.mark.slow
def test_reasons_are_returned_for_a_stored_customer(endpoint: Served, store: OnlineStore) -> None:
    store.put_day(TODAY, rows_of(["a"], {name: [value] for name, value in GOOD.items()}))
    stored = endpoint.http.post("/predict", json={"customer_id": "a", "reasons": True}).json()
    sent = endpoint.http.post("/predict", json={"customer_id": "a", "features": GOOD, "reasons": True}).json()
    assert stored["reasons"] == sent["reasons"]


@pytest.mark.slow
def test_openapi_example_by_id_works(endpoint: Served, store: OnlineStore) -> None:
    operation = endpoint.http.get("/openapi.json").json()["paths"]["/predict"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["examples"]["by-id"]["value"]
    assert "features" not in example
    store.put_day(TODAY, rows_of([example["customer_id"]], {name: [value] for name, value in GOOD.items()}))
    response = endpoint.http.post("/predict", json=example)
    assert (response.status_code, response.json()["customer_id"]) == (200, example["customer_id"])


def test_requires_features_when_no_store_is_configured(bundle: Bundle) -> None:
    stored = StoredFeatures(bundle.contract, None, stale_after_days=2)
    with pytest.raises(RequestError, match="no_online_store") as caught:
        asyncio.run(stored.read("a"))
    assert caught.value.response.status_code == 503


@pytest.mark.slow
def test_registry_is_never_contacted(endpoint: Served, store: OnlineStore, registry: socket.socket) -> None:
    store.put_day(TODAY, rows_of(["known"], synthetic_columns(1, seed=5)))
    responses = [endpoint.predict(), predict_by_id(endpoint, "known")]
    assert [(response.status_code, response.json()["model_version"]) for response in responses] == [(200, "7")] * 2
    with pytest.raises(BlockingIOError):  # no connection of the server is waiting
        registry.accept()
