"""Signed statements: every change of an envelope, another key, another type and an unknown link are refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined] # its package has no __all__

from include.provenance.check import read_provenance
from include.provenance.signature import create_keys, read_signed, sign
from include.provenance.statement import LINKS, PROVENANCE_FILE, Provenance, ProvenanceError
from tests.provenance.conftest import Signed

NAMES = st.text(st.characters(exclude_characters="/", exclude_categories=["Cs"]), min_size=1, max_size=8)
LINK = st.dictionaries(NAMES, st.text("0123456789abcdef", min_size=64, max_size=64), min_size=1, max_size=3)


def test_every_flipped_bit_of_an_envelope_is_refused(signed: Signed) -> None:
    content = (signed.bento / PROVENANCE_FILE).read_bytes()
    read_signed(content, signed.public, "envelope")
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            with pytest.raises(ProvenanceError):
                read_signed(bytes(changed), signed.public, "envelope")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_replaced_removed_and_inserted_bytes_are_refused(signed: Signed, data: st.DataObject) -> None:
    content = (signed.bento / PROVENANCE_FILE).read_bytes()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, min(len(content), start + 4)))
    changed = content[:start] + data.draw(st.binary(max_size=4)) + content[end:]
    if changed != content:
        with pytest.raises(ProvenanceError):
            read_signed(changed, signed.public, "envelope")


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: json.dumps(json.loads(text), indent=1) + "\n",
        lambda text: text.rstrip("\n"),
        lambda text: text.replace('"payload": "', '"payload": "\\n'),
        lambda text: text.replace('{"payload"', '{"payload": "", "payload"'),
        lambda text: text.replace('"payloadType"', '"note": 1, "payloadType"'),
    ],
    ids=["indented", "without the last line break", "line break in Base64", "key twice", "further key"],
)
def test_other_text_with_the_same_signed_bytes_is_refused(signed: Signed, rewrite: Callable[[str], str]) -> None:
    text = (signed.bento / PROVENANCE_FILE).read_text()
    with pytest.raises(ProvenanceError, match="cannot be read"):
        read_signed(rewrite(text).encode(), signed.public, "envelope")


def test_other_key_and_missing_signature_are_refused(signed: Signed, tmp_path: Path) -> None:
    create_keys(tmp_path / "other.pem", tmp_path / "other-public.pem")
    statement = signed.provenance.as_statement()
    for envelope in (sign(statement, tmp_path / "other.pem"), sign(statement, None)):
        assert read_signed(envelope.encode(), None, "envelope") == statement
        with pytest.raises(ProvenanceError, match="not signed with a trusted key"):
            read_signed(envelope.encode(), signed.public, "envelope")


def test_signature_of_another_statement_is_refused(signed: Signed) -> None:
    other = json.loads(sign(Provenance("grocery", "run-1", "8").with_link("run", {}).as_statement(), signed.private))
    envelope = json.loads((signed.bento / PROVENANCE_FILE).read_bytes())
    envelope["signatures"] = other["signatures"]
    with pytest.raises(ProvenanceError, match="not signed with a trusted key"):
        read_signed((json.dumps(envelope) + "\n").encode(), signed.public, "envelope")


def test_other_payload_type_is_refused_although_it_is_signed(signed: Signed) -> None:
    payload = json.dumps(signed.provenance.as_statement()).encode()
    envelope = Envelope(payload, "application/json", {})
    envelope.sign(CryptoSigner(load_pem_private_key(signed.private.read_bytes(), None)))
    with pytest.raises(ProvenanceError, match="cannot be read"):
        read_signed((json.dumps(envelope.to_dict()) + "\n").encode(), signed.public, "envelope")


@pytest.mark.parametrize("key", ["absent", "damaged"])
def test_unreadable_key_is_named(signed: Signed, tmp_path: Path, key: str) -> None:
    (tmp_path / "damaged").write_text("no key")
    for act in (
        lambda: read_signed((signed.bento / PROVENANCE_FILE).read_bytes(), tmp_path / key, "envelope"),
        lambda: sign({}, tmp_path / key),
    ):
        with pytest.raises(ProvenanceError, match=f"key cannot be read.*{key}"):
            act()


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(LINKS), LINK, min_size=1), NAMES, NAMES)
def test_statement_contains_the_provenance(checksums: dict[Any, dict[str, str]], project: str, version: str) -> None:
    provenance = Provenance(project, "run-1", version, checksums)
    statement = json.loads(json.dumps(provenance.as_statement()))
    assert Provenance.from_statement(statement) == provenance


def changed(statement: dict[str, Any], *path: Any, value: object) -> dict[str, Any]:
    """Return a copy of a statement with another value at a path."""
    copied: dict[str, Any] = json.loads(json.dumps(statement))
    parent: Any = copied
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = value
    return copied


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("subject", 0, "name"), "wheel/bento.yaml"),
        (("subject", 0, "name"), 7),
        (("subject", 0, "digest"), {"sha1": "0"}),
        (("subject",), None),
        (("_type",), "https://in-toto.io/Statement/v0.1"),
        (("predicateType",), "https://slsa.dev/provenance/v0.2"),
        (("predicate", "buildDefinition", "buildType"), "urn:other"),
        (("predicate", "buildDefinition", "externalParameters"), {"project": "grocery"}),
    ],
    ids=["unknown link", "name", "algorithm", "subject", "type", "predicate", "build type", "parameters"],
)
def test_signed_statement_of_another_kind_is_refused(signed: Signed, path: tuple[Any, ...], value: object) -> None:
    envelope = sign(changed(signed.provenance.as_statement(), *path, value=value), signed.private)
    with pytest.raises(ProvenanceError, match="not a statement about a model"):
        read_provenance(envelope.encode(), "grocery", "7", signed.public, "envelope")


@pytest.mark.parametrize("link", LINKS)
def test_missing_link_missing_file_and_further_file_differ(signed: Signed, link: Any) -> None:
    files = {"a": "0" * 64, "b": "1" * 64}
    complete = Provenance("grocery", "run-1", "7").with_link(link, files)
    complete.require(link, files, "here")
    for other in ({"a": "0" * 64}, files | {"a": "1" * 64}, files | {"c": "0" * 64}):
        with pytest.raises(ProvenanceError, match=f"The {link} of model version 7 differs"):
            complete.require(link, other, "here")
    complete.require(link, files | {"c": "0" * 64}, "here", complete=False)
    with pytest.raises(ProvenanceError, match="everything"):
        Provenance("grocery", "run-1", "7").require(link, {}, "here")


@pytest.mark.parametrize(("project", "version"), [("subscription", "7"), ("grocery", "8")])
def test_statement_of_another_model_is_refused(signed: Signed, project: str, version: str) -> None:
    envelope = (signed.bento / PROVENANCE_FILE).read_bytes()
    with pytest.raises(ProvenanceError, match="version 7 of the project grocery"):
        read_provenance(envelope, project, version, signed.public, "envelope")
    assert read_provenance(envelope, None, None, signed.public, "envelope") == signed.provenance


def test_payload_is_an_in_toto_statement_for_other_tools(signed: Signed) -> None:
    envelope = json.loads((signed.bento / PROVENANCE_FILE).read_bytes())
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert (statement["_type"], statement["predicateType"]) == (
        "https://in-toto.io/Statement/v1",
        "https://slsa.dev/provenance/v1",
    )
    assert {item["name"] for item in statement["subject"]} == {
        f"bento/{name}" for name in signed.provenance.checksums["bento"]
    }
