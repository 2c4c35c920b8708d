"""Check the provenance of a registered model before it is packaged, and sign the provenance of its Bento."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from include.local_files import write_atomically
from include.logs import get_logger
from include.provenance.check import missing_provenance, read_provenance
from include.provenance.signature import sign
from include.provenance.statement import PROVENANCE_FILE, Provenance, checksums_of
from include.settings import Settings
from include.training.model.bundle import Bundle
from include.training.release.registry import Registry
from include.versions.repository import open_repository

log = get_logger(__name__)


@dataclass(frozen=True)
class RegisteredModel:
    """A model from the registry.

    Attributes:
        bundle: Its bundle.
        provenance: Its provenance; None for a version without provenance.
        envelope: The signed provenance as training wrote it.
    """

    bundle: Bundle
    provenance: Provenance | None = None
    envelope: bytes = b""


def fetch(model_version: str, settings: Settings) -> RegisteredModel:
    """Return a registered model after a check of its raw data, its run and its bundle.

    A version without provenance is accepted if the settings have no public key.

    Args:
        model_version: The version.
        settings: The registry, the versions of raw data and the keys.

    Raises:
        ProvenanceError: Something differs from the provenance, or the provenance is missing or not trusted.
        RegistryError: The registry does not answer, or has no such version.
        VersionError: The raw data is missing or damaged, or its storage does not answer.
        BundleError: The bundle is damaged.
    """
    registry = Registry(settings)
    where = f"{registry.name} version {model_version} at {registry.tracking_uri}"
    envelope = registry.document(model_version, PROVENANCE_FILE)
    if envelope is None:
        if settings.provenance.public_key:
            raise missing_provenance(where)
        log.warning("model without provenance", extra={"model_version": model_version})
        return RegisteredModel(registry.bundle(model_version))
    provenance = read_provenance(envelope, settings.project, model_version, settings.provenance.public_key, where)
    with tempfile.TemporaryDirectory(prefix="churn-provenance-") as name:
        run, bundle, data = (Path(name) / part for part in ("run", "bundle", "data"))
        for folder in (run, bundle):
            folder.mkdir()
        run_files = checksums_of(registry.download_run(provenance.run_id, run))
        provenance.require("run", run_files, where, complete=False)  # files can be added to a run later
        files = registry.download_bundle(model_version, bundle)
        provenance.require("bundle", checksums_of(files), where)
        revision = provenance.checksums.get("data", {}).get("revision")
        if revision and settings.provenance.check_data:
            open_repository(settings).pull(revision, data)
        return RegisteredModel(registry.load(files), provenance, envelope)


def sign_bento(bento: Path, provenance: Provenance, signing_key: Path | None) -> None:
    """Store the signed provenance of a new Bento in its folder.

    Args:
        bento: The folder of the Bento, which was just built.
        provenance: The provenance of its model.
        signing_key: The file of the private key; None stores an unsigned provenance.

    Raises:
        ProvenanceError: The key cannot be read.
    """
    complete = provenance.with_link("bento", checksums_of(bento))
    write_atomically(bento / PROVENANCE_FILE, sign(complete.as_statement(), signing_key))
