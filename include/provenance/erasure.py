"""Signed statements that an erasure replaced a version of raw data by another version.

The statement is an in-toto statement whose subject is the new version. A deployment accepts the new version in place of
the version in the provenance of a model, if the statement is signed like the provenance.
"""

from __future__ import annotations

from pathlib import Path

from include.provenance.signature import read_signed, sign
from include.provenance.statement import ProvenanceError

_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "urn:churnflow:erasure:v1"


def sign_erasure(replaced: str, revision: str, signing_key: Path | None) -> str:
    """Return the statement in an envelope.

    Args:
        replaced: The revision that contained the erased rows.
        revision: The revision without these rows.
        signing_key: The file of the private key; None leaves the envelope unsigned.

    Raises:
        ProvenanceError: The key cannot be read.
    """
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": "data/revision", "digest": {"md5": revision}}],
        "predicateType": _PREDICATE,
        "predicate": {"replaces": {"md5": replaced}},
    }
    return sign(statement, signing_key)


def read_erasure(envelope: bytes, replaced: str, public_key: Path | None, where: object) -> str:
    """Return the revision that replaced another revision.

    Args:
        envelope: The statement.
        replaced: The revision that contained the erased rows.
        public_key: The file of the public key; None accepts any signature.
        where: The location of the statement, for the message.

    Raises:
        ProvenanceError: The statement is damaged, is not signed with the key, or is about another revision.
    """
    statement = read_signed(envelope, public_key, where)
    try:
        revision = str(statement["subject"][0]["digest"]["md5"])
        found = statement["predicateType"], statement["predicate"]["replaces"]["md5"]
    except (KeyError, IndexError, TypeError) as error:
        raise _other(where) from error
    if found != (_PREDICATE, replaced):
        raise _other(where)
    return revision


def _other(where: object) -> ProvenanceError:
    return ProvenanceError(
        "The statement is not about the erasure from this version of the raw data.",
        where=str(where),
        remedy="Find out who changed it, or train the model again.",
    )
