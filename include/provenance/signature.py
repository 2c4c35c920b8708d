"""Signed statements: DSSE envelopes with Ed25519 keys in PEM files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, VerificationError
from securesystemslib.signer import CryptoSigner, Key, SSlibKey  # type: ignore[attr-defined] # its package has no __all__

from include.local_files import PRIVATE, write_atomically
from include.provenance.statement import ProvenanceError

_PUBLIC_KEY = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----\n?", re.DOTALL)
_PAYLOAD_TYPE = "application/vnd.in-toto+json"


def create_keys(private: Path, public: Path) -> None:
    """Write a new pair of keys.

    Args:
        private: The file of the private key, readable by its owner only.
        public: The file of the public key.

    Raises:
        ProvenanceError: The file of the private key exists.
    """
    if private.exists():
        raise ProvenanceError("The file exists.", where=str(private), remedy="Name another file.")
    key = Ed25519PrivateKey.generate()
    write_atomically(private, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), PRIVATE)
    write_atomically(public, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def sign(statement: Mapping[str, Any], private: Path | None) -> str:
    """Return a statement in an envelope.

    Args:
        statement: The statement.
        private: The file of the private key; None leaves the envelope unsigned.

    Raises:
        ProvenanceError: The key cannot be read.
    """
    payload = json.dumps(statement, sort_keys=True).encode()
    envelope = Envelope(payload, _PAYLOAD_TYPE, {})
    if private is not None:
        try:
            signer = CryptoSigner(load_pem_private_key(private.read_bytes(), password=None))
        except (OSError, ValueError, TypeError) as error:
            raise _unreadable_key(private, error) from error
        envelope.sign(signer)
    return _encoded(envelope)


def read_signed(content: bytes, public: Path | None, where: object) -> dict[str, Any]:
    """Return the statement in an envelope.

    Args:
        content: The envelope.
        public: The file of the trusted public keys, one of which must have signed it; None accepts any envelope.
        where: The location of the envelope, for the message.

    Raises:
        ProvenanceError: The envelope is damaged or is not signed with a trusted key, or a key cannot be read.
    """
    try:
        envelope = Envelope.from_dict(json.loads(content))
        if envelope.payload_type != _PAYLOAD_TYPE:
            raise ValueError(envelope.payload_type)
        # Decoders of Base64 and JSON ignore some characters, so several texts contain the same signed bytes.
        if _encoded(envelope).encode() != content:
            raise ValueError("the envelope is not as it was written")
        if public is not None:
            envelope.verify(_public_keys(public), 1)
        statement: dict[str, Any] = json.loads(envelope.payload)
    except VerificationError as error:
        raise ProvenanceError(
            "The provenance is not signed with a trusted key.",
            where=str(where),
            remedy=f"Deploy a model that was trained and packaged with a private key of {public}.",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, FormatError) as error:
        raise ProvenanceError(
            f"The provenance cannot be read ({type(error).__name__}).",
            where=str(where),
            remedy="Train or package the model again.",
        ) from error
    return statement


def _encoded(envelope: Envelope) -> str:
    return json.dumps(envelope.to_dict()) + "\n"


def _public_keys(file: Path) -> list[Key]:
    try:
        blocks = _PUBLIC_KEY.findall(content := file.read_bytes())
        if not blocks or _PUBLIC_KEY.sub(b"", content).strip():
            raise ValueError("not only public keys")
        return [SSlibKey.from_crypto(load_pem_public_key(block)) for block in blocks]
    except (OSError, ValueError, TypeError) as error:
        raise _unreadable_key(file, error) from error


def _unreadable_key(file: Path, error: Exception) -> ProvenanceError:
    return ProvenanceError(
        f"The key cannot be read ({type(error).__name__}).",
        where=str(file),
        remedy="Create keys with `python -m include.provenance new-keys`, and check the setting.",
    )
