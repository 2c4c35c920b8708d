"""Check that a Bento, and the image that contains it, have the checksums of their signed provenance."""

from __future__ import annotations

from pathlib import Path

from include.provenance.signature import read_signed
from include.provenance.statement import PROVENANCE_FILE, Provenance, ProvenanceError, checksums_of


def read_provenance(
    envelope: bytes, project: str | None, model_version: str | None, public_key: Path | None, where: object
) -> Provenance:
    """Return the provenance in an envelope, which must be of a version of a model.

    Args:
        envelope: The signed provenance.
        project: The project; None accepts any project.
        model_version: The version in the registry; None accepts any version.
        public_key: The file of the public key; None accepts any signature.
        where: The location of the envelope, for the message.

    Raises:
        ProvenanceError: The envelope is damaged, is not signed with the key, or is of another model.
    """
    statement = read_signed(envelope, public_key, where)
    try:
        provenance = Provenance.from_statement(statement)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ProvenanceError(
            f"The provenance is not a statement about a model ({type(error).__name__}).",
            where=str(where),
            remedy="Train or package the model again.",
        ) from error
    if project not in (None, provenance.project) or model_version not in (None, provenance.model_version):
        raise ProvenanceError(
            f"The provenance is of version {provenance.model_version} of the project {provenance.project}.",
            where=str(where),
            remedy=f"Train or package version {model_version} of {project} again.",
        )
    return provenance


def require_bento(folder: Path, project: str, model_version: str, public_key: Path | None) -> Provenance | None:
    """Check that every file of a Bento has the checksum in its provenance.

    Args:
        folder: The folder of the Bento.
        project: The project of its model.
        model_version: The version of its model in the registry.
        public_key: The file of the public key. If it is None, the signature is not checked, and a Bento without
            provenance is accepted.

    Returns:
        The provenance; None for a Bento without provenance.

    Raises:
        ProvenanceError: A file differs, or the provenance is missing or not trusted.
    """
    try:
        envelope = (folder / PROVENANCE_FILE).read_bytes()
    except FileNotFoundError:
        if public_key:
            raise missing_provenance(folder) from None
        return None
    provenance = read_provenance(envelope, project, model_version, public_key, folder)
    provenance.require("bento", checksums_of(folder), folder)
    return provenance


def require_image(
    envelope: bytes, image: str, project: str | None, model_version: str | None, public_key: Path | None
) -> Provenance:
    """Check that an image has the digest in its provenance.

    Args:
        envelope: The signed provenance of the image.
        image: The image with its digest, ``REPOSITORY@sha256:...``, or the digest.
        project: The project of its model; None accepts any project.
        model_version: The version of its model in the registry; None accepts any version.
        public_key: The file of the public key; None accepts any signature.

    Returns:
        The provenance.

    Raises:
        ProvenanceError: The image differs, or the provenance is damaged or not trusted.
    """
    where = f"provenance of the image {image}"
    provenance = read_provenance(envelope, project, model_version, public_key, where)
    provenance.require("image", image_link(image), where)
    return provenance


def image_link(image: str) -> dict[str, str]:
    """Return the entry of an image in a provenance.

    Args:
        image: The image with its digest, ``REPOSITORY@sha256:...``, or the digest.
    """
    return {"image": image.rpartition("sha256:")[2]}


def missing_provenance(where: object) -> ProvenanceError:
    """Return the error for a model without provenance, where a signed provenance is required.

    Args:
        where: The location of the model.
    """
    return ProvenanceError(
        "There is no provenance, and CHURN_PROVENANCE__PUBLIC_KEY requires a signed provenance.",
        where=str(where),
        remedy="Train the model again with CHURN_PROVENANCE__SIGNING_KEY.",
    )
