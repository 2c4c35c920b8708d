from __future__ import annotations

import datetime as dt
import json
import logging
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from include.serving.endpoint.keys import KeyFileError, KeyRing, add_key, read_keys, revoke_key

TODAY = dt.datetime.now(dt.UTC).date()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "api-keys.json"


def ring_of(path: Path) -> KeyRing:
    return KeyRing(path, reload_seconds=0)


def failures() -> float:
    return REGISTRY.get_sample_value("ml_api_keys_reload_failures_total") or 0.0


def test_file_contains_only_the_hash_of_a_key(path: Path) -> None:
    key = add_key(path, "crm")
    assert ring_of(path).name_of(key.encode()) == "crm"
    assert key not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {file.name for file in path.parent.iterdir()} <= {path.name, f".{path.name}.lock"}


def test_keys_are_long_and_unique(path: Path) -> None:
    made = {add_key(path, f"key-{number}") for number in range(20)}
    assert len(made) == 20
    assert all(len(key) >= 43 for key in made)


@given(steps=st.lists(st.tuples(st.booleans(), st.sampled_from("abcd")), max_size=12))
@settings(max_examples=40, deadline=None)
def test_key_ring_accepts_only_the_keys_in_the_file(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[bool, str]]
) -> None:
    path = tmp_path_factory.mktemp("keys") / "api-keys.json"
    add_key(path, "first")
    ring = ring_of(path)
    accepted: dict[str, str] = {}
    revoked: list[str] = []
    for add, name in steps:
        if add and name not in accepted:
            accepted[name] = add_key(path, name)
        elif not add and name in accepted:
            revoke_key(path, name)
            revoked.append(accepted.pop(name))
        assert {key: ring.name_of(key.encode()) for key in accepted.values()} == {k: n for n, k in accepted.items()}
        assert not [key for key in revoked if ring.name_of(key.encode())]


@given(candidate=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_value_that_is_not_a_key_is_rejected(tmp_path_factory: pytest.TempPathFactory, candidate: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "api-keys-of-many-examples.json"
    if not path.exists():
        add_key(path, "crm")
    assert ring_of(path).name_of(candidate) is None


def test_hash_is_not_accepted_as_a_key(path: Path) -> None:
    add_key(path, "crm")
    digest = read_keys(path)["crm"].sha256
    assert ring_of(path).name_of(digest.encode()) is None
    assert ring_of(path).name_of(bytes.fromhex(digest)) is None


@pytest.mark.parametrize(("days", "accepted"), [(-1, False), (0, True), (1, True)])
def test_key_is_valid_up_to_its_last_day(path: Path, days: int, accepted: bool) -> None:
    key = add_key(path, "crm", TODAY + dt.timedelta(days=days))
    assert (ring_of(path).name_of(key.encode()) is not None) == accepted


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"crm": "secret-of-crm"}',
        '{"crm": {"sha256": "secret-of-crm"}}',
        '{"crm": {"key": "secret-of-crm"}}',
        json.dumps({"crm": {"sha256": "a" * 64, "not_after": "secret-of-crm"}}),
        json.dumps({"secret of crm\n": {"sha256": "a" * 64}}),
    ],
)
def test_malformed_file_is_rejected_at_the_start(path: Path, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(KeyFileError, match=str(path)) as caught:
        ring_of(path)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_missing_file_is_rejected_at_the_start(path: Path) -> None:
    with pytest.raises(KeyFileError, match="new-key"):
        ring_of(path)


@pytest.mark.parametrize("damage", ["broken", "gone"])
def test_former_keys_stay_valid_when_the_file_is_damaged_later(
    path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    key = add_key(path, "crm").encode()
    ring = ring_of(path)
    before = failures()
    if damage == "broken":
        path.write_text('{"crm": "secret-of-crm"}')
    else:
        path.unlink()
    with caplog.at_level(logging.ERROR, logger="include"):
        assert [ring.name_of(key) for _ in range(5)] == ["crm"] * 5
    assert failures() == before + 1
    assert "secret" not in caplog.text
    # A valid file is read again.
    path.unlink(missing_ok=True)
    other = add_key(path, "other").encode()
    assert (ring.name_of(key), ring.name_of(other)) == (None, "other")


def test_file_replaced_by_a_secret_mount_is_reloaded(tmp_path: Path) -> None:
    """Kubernetes changes the target of a symbolic link."""
    keys = [add_key(tmp_path / folder / "api-keys.json", "crm").encode() for folder in ("one", "two")]
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "api-keys.json").symlink_to("..data/api-keys.json")
    ring = ring_of(tmp_path / "api-keys.json")
    assert [ring.name_of(key) for key in keys] == ["crm", None]
    (tmp_path / "..next").symlink_to("two")
    (tmp_path / "..next").replace(tmp_path / "..data")
    assert [ring.name_of(key) for key in keys] == [None, "crm"]


def test_file_is_not_checked_for_every_request(path: Path) -> None:
    key = add_key(path, "crm").encode()
    ring = KeyRing(path, reload_seconds=3600)
    revoke_key(path, "crm")
    assert ring.name_of(key) == "crm"


@pytest.mark.parametrize("name", ["", "a b", "../etc", "x" * 64, "näme", "-x"])
def test_invalid_name_is_rejected(path: Path, name: str) -> None:
    with pytest.raises(KeyFileError, match="name"):
        add_key(path, name)
    assert not path.exists()


def test_existing_name_is_rejected(path: Path) -> None:
    key = add_key(path, "crm")
    with pytest.raises(KeyFileError, match="exists"):
        add_key(path, "crm")
    assert ring_of(path).name_of(key.encode()) == "crm"


def test_revoking_an_unknown_name_is_an_error(path: Path) -> None:
    add_key(path, "crm")
    with pytest.raises(KeyFileError, match="no key"):
        revoke_key(path, "other")


def test_concurrent_writers_lose_no_key(path: Path) -> None:
    children = []
    for number in range(8):
        child = os.fork()
        if child == 0:
            add_key(path, f"key-{number}")
            os._exit(0)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 8
    assert len(read_keys(path)) == 8
