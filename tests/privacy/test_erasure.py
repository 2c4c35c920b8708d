"""The erasure of one customer from a deployment with data of every kind."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import mlflow
import pytest
from tenacity import Retrying, stop_after_attempt
from typer.testing import CliRunner

from benchmarks.erasure import other_rows_changed, require_found
from benchmarks.erasure_world import CUSTOMER, ingest, log_prediction
from benchmarks.traces import find_traces
from include.days import DayRange
from include.lake import open_lake
from include.lake.table_names import ERASED_TABLE, PREDICTIONS_TABLE, bronze_table, quarantine_table, silver_table
from include.privacy import erase as erase_module
from include.privacy.__main__ import app
from include.privacy.customer import CustomerIdError
from include.privacy.erase import STEPS, erase
from include.privacy.proof import Erasure
from include.privacy.requests import IncompleteErasureError, erase_requested, requests_folder
from include.provenance.statement import ProvenanceError
from include.serving.deployment.provenance import fetch
from include.serving.deployment.state import open_state
from include.serving.prediction_log.collect import collect_predictions
from include.settings import get_settings
from include.sources.bronze import load_bronze
from include.sources.connections import Connections
from include.sources.erased_customers import PrivacyKeyError, read_erased
from include.training.data.dataset import dataset_dir, load_dataset
from include.versions.repository import open_repository
from include.versions.reproduce import reproduce
from tests.privacy.conftest import NOW, World
from tests.versions.world import DAYS, short_project
from tests.world import grocery

pytestmark = pytest.mark.slow

Erased = tuple[World, Erasure, Path]
Files = dict[str, str]


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def copy(world: World, tmp_path: Path) -> World:
    return world.copy(tmp_path / "home")


def rows_removed(erasure: Erasure) -> dict[str, int]:
    return {step: sum(item["rows"] for item in items) for step, items in erasure.removed.items()}


def test_no_byte_contains_the_id_after_an_erasure(world: World, erased: Erased) -> None:
    require_found(find_traces(world.home, CUSTOMER), world.home)
    assert find_traces(erased[0].home, CUSTOMER).places == []


def test_rows_of_other_customers_are_equal(world: World, erased: Erased) -> None:
    before, after = open_lake(world.settings), open_lake(erased[0].settings)
    assert other_rows_changed(before, after) == {}
    for name in grocery().sources:
        rows = {
            layer(name): after.table(layer(name)).count() for layer in (bronze_table, silver_table, quarantine_table)
        }
        assert rows[bronze_table(name)] == rows[silver_table(name)] + rows[quarantine_table(name)]


def test_files_without_the_customer_are_not_written_again(world: World, erased: Erased) -> None:
    folders = ("landing", "lake", "training", "versions")
    before, after = world.contents(), erased[0].contents()
    found = {
        Path(place.partition("!")[0]).relative_to(world.home) for place in find_traces(world.home, CUSTOMER).places
    }
    data = [name for name in before if name.startswith(folders) and name.endswith((".parquet", ".csv"))]
    kept = [name for name in data if Path(name) not in found]
    assert [name for name in kept if name in after and after[name] != before[name]] == []
    lost = [name for name in kept if name not in after]
    assert all(name.startswith("lake/") for name in lost), "only earlier versions of tables are removed"


def test_proof_states_what_was_removed_without_the_id(world: World, erased: Erased) -> None:
    _, erasure, proof = erased
    content = json.loads(proof.read_text())
    assert content["erasures"] == [erasure.as_dict()]
    assert (content["project"], len(content["customer_hash"])) == ("grocery", 64)
    assert (erasure.at, erasure.finished, erasure.left) == ("2026-12-01T09:30:00+00:00", True, [])
    tables = {item["table"]: item["rows"] for item in erasure.removed["tables"]}
    lake = open_lake(world.settings)
    for name, rows in tables.items():
        column = "customer_id" if name.startswith("gold/") else "household_id"
        table = lake.table(name)
        assert rows == table.read(table.days())[column].to_pylist().count(CUSTOMER), name
    assert proof.stat().st_mode & 0o077 == 0


def test_dry_run_counts_the_same_rows_and_changes_nothing(world: World, erased: Erased) -> None:
    before = world.contents()
    found, proof = erase(world.settings, CUSTOMER, NOW, dry_run=True)
    assert rows_removed(found) == rows_removed(erased[1])
    assert found.removed.keys() == erased[1].removed.keys()
    assert not proof.exists()
    assert world.contents() == before


def test_deployed_model_stays_deployable(erased: Erased) -> None:
    copy, erasure, _ = erased
    provenance = fetch(copy.version, copy.settings).provenance
    changed = erasure.removed["versions"][0]
    assert provenance is not None
    assert provenance.checksums["data"]["revision"] == changed["replaced"] != changed["revision"]
    assert [version.revision for version in open_repository(copy.settings).versions()] == [changed["revision"]]


def test_forged_record_of_an_erasure_is_refused(erased: Erased, tmp_path: Path) -> None:
    copy = erased[0].copy(tmp_path / "home")
    (record,) = (copy.home / "versions" / "remote" / "grocery" / "erasures").glob("*.json")
    envelope = json.loads(record.read_text())
    record.write_text(json.dumps(envelope | {"signatures": []}) + "\n")
    with pytest.raises(ProvenanceError, match="not signed"):
        fetch(copy.version, copy.settings)


def test_reproduction_states_the_erasure(world: World, erased: Erased) -> None:
    settings = erased[0].settings.model_copy(update={"mlflow": world.settings.mlflow})
    run = mlflow.MlflowClient(settings.mlflow.tracking_uri).get_model_version("churn-grocery", world.version).run_id
    told: list[str] = []
    outcome = reproduce(settings, str(run), "raw", told.append)
    assert (outcome.agrees, outcome.erased) == (False, True)
    assert told[-1] == "Customers were erased from the raw data after the training, so a difference is expected."
    rows = load_dataset(dataset_dir(settings, DAYS.last)).manifest
    assert outcome.rows == sum(part.rows for part in rows.parts.values()), "the data set lacks the same rows"


def test_later_delivery_does_not_bring_the_customer_back(world: World, erased: Erased, tmp_path: Path) -> None:
    copy = erased[0].copy(tmp_path / "home")
    before = erased[0].settings
    shutil.copytree(world.landing, copy.landing, dirs_exist_ok=True)
    lake = open_lake(copy.settings)
    results = load_bronze(grocery(), lake, Connections.from_settings(copy.settings), DAYS, copy.settings.privacy)
    found = {item.table: (item.rows_read - item.rows_written, item.detail) for item in results}
    assert found["bronze/transactions"] == (54, {"erased_rows": 54})
    assert found["bronze/coupon_redemptions"] == (0, None)
    assert other_rows_changed(open_lake(before), lake) == {}
    shutil.rmtree(copy.landing)
    assert not [place for place in find_traces(copy.home, CUSTOMER).places if "/lake/" in place]


def test_later_predictions_are_not_collected(erased: Erased, tmp_path: Path) -> None:
    copy = erased[0].copy(tmp_path / "home")
    bento = open_state(copy.settings).served()
    assert bento is not None
    log_prediction(copy.settings, bento, DAYS.last, dt.datetime.combine(DAYS.last, dt.time(20), dt.UTC))
    collected = collect_predictions(copy.settings)
    assert (collected.segments, collected.erased_rows) == (3, 1)
    assert find_traces(copy.home / "prediction_log", CUSTOMER).places == []
    rows = open_lake(copy.settings).table(PREDICTIONS_TABLE).read([DAYS.last])
    assert CUSTOMER not in rows["customer_id"].to_pylist()


@pytest.mark.parametrize("key", ["", "another key of more than 32 characters"])
def test_ingest_is_refused_without_the_key_of_an_erasure(erased: Erased, key: str) -> None:
    copy = erased[0]
    before = copy.contents()
    privacy = type(copy.settings.privacy)(key=key)
    with pytest.raises(PrivacyKeyError, match="not configured"):
        load_bronze(grocery(), open_lake(copy.settings), Connections.from_settings(copy.settings), DAYS, privacy)
    with pytest.raises(PrivacyKeyError):
        collect_predictions(copy.settings.model_copy(update={"privacy": privacy}))
    assert copy.contents() == before
    old = type(privacy)(key="another key of more than 32 characters", old_keys=[copy.settings.privacy.key])
    assert CUSTOMER in read_erased(open_lake(copy.settings), old)


def test_invalid_erasures_change_nothing(world: World) -> None:
    before = world.contents()
    unkeyed = world.settings.model_copy(update={"privacy": type(world.settings.privacy)()})
    with pytest.raises(PrivacyKeyError, match="no key"):
        erase(unkeyed, CUSTOMER, NOW)
    for text in ("", "  ", "NULL"):
        with pytest.raises(CustomerIdError):
            erase(world.settings, text, NOW)
    keys = world.settings.provenance.model_copy(update={"signing_key": None})
    with pytest.raises(ProvenanceError, match="could not be deployed"):
        erase(world.settings.model_copy(update={"provenance": keys}), CUSTOMER, NOW)
    assert world.contents() == before


KILLS = (
    ("landing", "include.sources.storage.DailyFiles.replace", 2),
    ("tables", "include.privacy.tables.forget_history", 1),
    ("tables", "include.lake.erasure._vacuum", 4),
    ("tables", "include.lake.erasure._delete_log_before", 3),
    ("online_store", "include.serving.online_store.lmdb_store.LmdbStore._write_again", 1),
    ("prediction_log", "include.serving.prediction_log.segments._replace", 2),
    ("datasets", "include.training.data.erasure.write_manifest", 1),
    ("versions", "include.versions.object_store.ObjectStore.write", 3),
    ("versions", "include.versions.repository.Repository.replace", 1),
    ("versions", "include.versions.object_store.ObjectStore.remove", 1),
    ("versions", "include.versions.object_store.ObjectStore.remove", 2),
)
"""The step that is killed, the function at whose start it is killed, and the number of the call."""


def test_repetition_after_kills_finishes_the_erasure(
    world: World, copy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step, function, call in KILLS:
        with monkeypatch.context() as patch:
            patch.setattr(erase_module, "STEPS", {step: STEPS[step]})
            patch.setattr(function, killed_at(call, function))
            with pytest.raises(Killed):
                erase(copy.settings, CUSTOMER, NOW)
        load_dataset(dataset_dir(copy.settings, DAYS.last))
        if step == "tables":
            assert other_rows_changed(open_lake(world.settings), open_lake(copy.settings)) == {}, function
    erasure, proof = erase(copy.settings, CUSTOMER, NOW + dt.timedelta(hours=1))
    assert erasure.finished
    assert find_traces(copy.home, CUSTOMER).places == []
    assert other_rows_changed(open_lake(world.settings), open_lake(copy.settings)) == {}
    assert fetch(copy.version, copy.settings).provenance is not None
    assert open_lake(copy.settings).table(ERASED_TABLE).count() == 1
    runs = json.loads(proof.read_text())["erasures"]
    assert [run["finished"] for run in runs] == [False] * (len(runs) - 1) + [True]


def killed_at(call: int, function: str) -> Callable[..., Any]:
    """Return a function, which ends the process at one of its calls."""
    original, calls = resolve_name(function), itertools.count(1)

    def wrapped(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            raise Killed
        return original(*arguments, **options)

    return wrapped


def test_concurrent_ingest_loses_nothing(world: World, copy: World, monkeypatch: pytest.MonkeyPatch) -> None:
    stop, runs, failures = threading.Event(), [], []

    def ingest_until_stopped() -> None:
        while not stop.is_set():
            try:
                for attempt in Retrying(stop=stop_after_attempt(2), reraise=True):  # Airflow repeats a failed task
                    with attempt:
                        ingest(copy.settings, short_project(), DayRange.single(DAYS.last))
            except Exception as error:  # noqa: BLE001
                failures.append(repr(error))
            runs.append(1)

    monkeypatch.setattr(erase_module, "STEPS", {"tables": STEPS["tables"]})
    thread = threading.Thread(target=ingest_until_stopped)
    thread.start()
    try:
        erasure, _ = erase(copy.settings, CUSTOMER, NOW)
    finally:
        stop.set()
        thread.join()
    assert runs
    assert failures == []
    assert erasure.finished
    # gold/_days has the number of the rows of the day, which is one less.
    assert other_rows_changed(open_lake(world.settings), open_lake(copy.settings)) == {"gold/_days": 2}
    assert find_traces(copy.home / "lake", CUSTOMER).places == []


def test_requested_erasures_are_carried_out_and_their_files_deleted(
    copy: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHURN_HOME", str(copy.home))
    get_settings.cache_clear()
    answer = CliRunner().invoke(app, ["request", "--customer", f" {CUSTOMER}"])
    get_settings.cache_clear()
    path = Path(json.loads(answer.stdout)["request"])
    assert CUSTOMER not in answer.stdout
    assert (path.stat().st_mode & 0o077, path.parent.stat().st_mode & 0o077) == (0, 0)
    monkeypatch.setattr(erase_module, "STEPS", {name: STEPS[name] for name in ("tables", "online_store")})
    # Without the table's source in the project, the table cannot be searched.
    open_lake(copy.settings).table("bronze/old").replace(
        [NOW.date()], open_lake(copy.settings).table("bronze/products").read([])
    )
    with pytest.raises(IncompleteErasureError, match="1 customer"):
        erase_requested(copy.settings, NOW)
    assert path.exists()
    shutil.rmtree(copy.home / "lake" / "grocery" / "bronze" / "old")
    (proof,) = erase_requested(copy.settings, NOW)
    assert list(requests_folder(copy.settings).iterdir()) == []
    assert json.loads(Path(proof).read_text())["erasures"][-1]["finished"]
    assert find_traces(copy.home / "lake", CUSTOMER).places == []
    assert erase_requested(copy.settings, NOW) == []
