"""Requests that name a customer and nothing else: a real server, a real store."""

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

from include.serving.deployment.pointer import BentoReference
from include.serving.endpoint.requests import RefusalError
from include.serving.endpoint.stored import StoredFeatures
from include.serving.online_store import OnlineStore, open_store
from include.serving.online_store.row_format import DAY_BYTES
from include.settings import Settings
from include.training.model.bundle import Bundle
from tests.serving.conftest import synthetic_columns
from tests.serving.endpoint.servers import GOOD, Served, running

TODAY = dt.datetime.now(dt.UTC).date()
LONG_AGO = dt.date(2017, 12, 18)


@pytest.fixture(scope="module")
def settings(make_settings: Callable[[], Settings]) -> Settings:
    return make_settings()


@pytest.fixture(scope="module")
def registry() -> Iterator[socket.socket]:
    """The address of a model registry, where nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture(scope="module")
def endpoint(bento: BentoReference, settings: Settings, registry: socket.socket) -> Iterator[Served]:
    url = f"http://127.0.0.1:{registry.getsockname()[1]}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("CHURN_MLFLOW__TRACKING_URI", url)
        environment.setenv("MLFLOW_TRACKING_URI", url)
        # A server is told of no project, or of another: its model's is what counts.
        with running(bento, settings.model_copy(update={"project": "another"})) as served:
            yield served


@pytest.fixture
def store(settings: Settings) -> Iterator[OnlineStore]:
    store = open_store(settings)
    assert store is not None
    yield store
    asyncio.run(store.close())
    shutil.rmtree(settings.home / "online_store", ignore_errors=True)


def ask(endpoint: Served, customer_id: str) -> httpx.Response:
    return endpoint.http.post("/predict", json={"customer_id": customer_id})


def rows_of(customers: list[str], columns: dict[str, list[float | str | None]]) -> pa.Table:
    return pa.table({"customer_id": customers, **columns})


@pytest.mark.slow
def test_answers_from_the_newest_features(endpoint: Served, store: OnlineStore, bundle: Bundle) -> None:
    columns = synthetic_columns(20, seed=5)
    customers = [f"customer-{row}" for row in range(20)]
    store.put_day(TODAY, rows_of(customers, columns))
    store.put_day(LONG_AGO, rows_of(customers, synthetic_columns(20, seed=6)))
    for customer, expected in zip(customers, bundle.predict(columns).tolist(), strict=True):
        answer = ask(endpoint, customer).json()
        assert answer == {
            "customer_id": customer,
            "churn_probability": pytest.approx(expected, abs=1e-6),
            "prediction": bundle.contract.decide(expected),
            "model_version": "7",
            "features_day": TODAY.isoformat(),
        }


@pytest.mark.slow
def test_old_features_are_called_stale(endpoint: Served, store: OnlineStore) -> None:
    store.put_day(LONG_AGO, rows_of(["old"], synthetic_columns(1, seed=5)))
    answer = ask(endpoint, "old").json()
    assert (answer["features_day"], answer["stale"]) == ("2017-12-18", True)


@pytest.mark.slow
def test_unknown_customer_is_not_found(endpoint: Served, store: OnlineStore) -> None:
    store.put_day(TODAY, rows_of(["known"], synthetic_columns(1, seed=5)))
    response = ask(endpoint, "unknown")
    assert (response.status_code, response.json()["error"]["kind"]) == (404, "unknown_customer")


@pytest.mark.slow
def test_what_is_stored_is_read_as_the_retention_list_reads_it(
    endpoint: Served, store: OnlineStore, bundle: Bundle
) -> None:
    columns: dict[str, list[float | str | None]] = {
        "recency_days": [-5.0, None],  # below the contract's minimum; null where none should be
        "spend_30d": [1.0, 2.0],
        "copy": [None, 3.0],
        "segment": ["unheard of", None],
    }
    store.put_day(TODAY, rows_of(["a", "b"], columns))
    for customer, expected in zip("ab", bundle.predict(columns).tolist(), strict=True):
        assert ask(endpoint, customer).json()["churn_probability"] == pytest.approx(expected, abs=1e-6)
    assert 'ml_feature_out_of_range_total{feature="recency_days"} 1.0' in endpoint.http.get("/metrics").text


@pytest.mark.slow
def test_features_of_another_model_are_named(endpoint: Served, store: OnlineStore) -> None:
    columns = {"recency_days": ["text"], "spend_30d": [1e300], "copy": [1.0], "something": [1.0], "segment": ["young"]}
    store.put_day(TODAY, rows_of(["a"], columns))  # type: ignore[arg-type]
    response = ask(endpoint, "a")
    error = response.json()["error"]
    assert (response.status_code, error["kind"]) == (503, "stored_features_unfit")
    assert [problem["field"] for problem in error["fields"]] == ["features.recency_days", "features.spend_30d"]


@pytest.mark.slow
def test_without_a_store_features_can_still_be_sent(endpoint: Served, store: OnlineStore) -> None:
    response = ask(endpoint, "a")
    assert (response.status_code, response.json()["error"]["kind"]) == (503, "online_store_unavailable")
    assert endpoint.predict().status_code == 200
    store.put_day(TODAY, rows_of(["a"], synthetic_columns(1, seed=5)))
    assert ask(endpoint, "a").status_code == 200
    log = endpoint.log.read_text()
    assert "online store does not answer" in log
    assert "online store answers again" in log


def _make_unreachable(folder: Path) -> None:
    data = folder / "data.mdb"
    data.unlink()
    data.symlink_to(data)


def _give_an_impossible_day(folder: Path) -> None:
    with lmdb.open(str(folder), max_dbs=2) as env, env.begin(write=True) as txn:
        customers = env.open_db(b"customers", txn)
        row = txn.get(b"customer-1", db=customers)
        txn.put(b"customer-1", b"\xff" * DAY_BYTES + row[DAY_BYTES:], db=customers)


@pytest.mark.slow
@pytest.mark.parametrize("spoil", [_make_unreachable, _give_an_impossible_day])
def test_a_store_that_is_damaged_or_out_of_reach_is_unavailable(
    endpoint: Served, store: OnlineStore, settings: Settings, spoil: Callable[[Path], None]
) -> None:
    store.put_day(TODAY, rows_of(["customer-1"], synthetic_columns(1, seed=5)))
    assert ask(endpoint, "customer-1").status_code == 200
    spoil(settings.home / "online_store" / "synthetic")
    response = ask(endpoint, "customer-1")
    assert (response.status_code, response.json()["error"]["kind"]) == (503, "online_store_unavailable")
    log = endpoint.log.read_text()
    assert "online store does not answer" in log
    assert "customer-1" not in log


@pytest.mark.slow
def test_reasons_of_a_stored_customer(endpoint: Served, store: OnlineStore) -> None:
    store.put_day(TODAY, rows_of(["a"], {name: [value] for name, value in GOOD.items()}))
    stored = endpoint.http.post("/predict", json={"customer_id": "a", "reasons": True}).json()
    sent = endpoint.http.post("/predict", json={"customer_id": "a", "features": GOOD, "reasons": True}).json()
    assert stored["reasons"] == sent["reasons"]


@pytest.mark.slow
def test_the_description_has_an_example_by_id(endpoint: Served, store: OnlineStore) -> None:
    operation = endpoint.http.get("/openapi.json").json()["paths"]["/predict"]["post"]
    example = operation["requestBody"]["content"]["application/json"]["examples"]["by-id"]["value"]
    assert "features" not in example
    store.put_day(TODAY, rows_of([example["customer_id"]], {name: [value] for name, value in GOOD.items()}))
    answer = endpoint.http.post("/predict", json=example)
    assert (answer.status_code, answer.json()["customer_id"]) == (200, example["customer_id"])


def test_no_store_is_configured(bundle: Bundle) -> None:
    stored = StoredFeatures(bundle.contract, None, stale_after_days=2)
    with pytest.raises(RefusalError, match="no_online_store") as refused:
        asyncio.run(stored.read("a"))
    assert refused.value.response.status_code == 503


@pytest.mark.slow
def test_the_registry_is_never_asked(endpoint: Served, store: OnlineStore, registry: socket.socket) -> None:
    store.put_day(TODAY, rows_of(["known"], synthetic_columns(1, seed=5)))
    answers = [endpoint.predict(), ask(endpoint, "known")]
    assert [(answer.status_code, answer.json()["model_version"]) for answer in answers] == [(200, "7")] * 2
    with pytest.raises(BlockingIOError):  # since its start, no connection of the server waits to be accepted
        registry.accept()
