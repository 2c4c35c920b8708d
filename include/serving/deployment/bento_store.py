"""The Bentos on this disk, in ``bentos/`` of the deployment's folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from include.logs import get_logger
from include.provenance.check import read_provenance
from include.provenance.statement import PROVENANCE_FILE
from include.serving.deployment.state import BentoReference, open_state
from include.settings import Settings
from include.training.model.bundle import Bundle

log = get_logger(__name__)

NAME = "churn"
"""The name of all Bentos."""


def bentos_home(serving_dir: Path) -> Path:
    """Return BentoML's home, which contains the Bentos.

    Args:
        serving_dir: The project's folder of the deployment.
    """
    return serving_dir.absolute() / "bentos"


def find_bento(model_version: str, serving_dir: Path) -> BentoReference | None:
    """Return the newest Bento of a model version; None if there is none on this disk.

    Args:
        model_version: The registry's version of the model.
        serving_dir: The project's folder of the deployment.
    """
    found = [path for path in _built(serving_dir) if path.name.startswith(f"{model_version}-")]
    if not found:
        return None
    return BentoReference(found[-1].name, model_version, str(found[-1]), serving_dir.name)


def local_bento(bento: BentoReference, settings: Settings) -> BentoReference | None:
    """Return the Bento, or a Bento of the same model version, on this disk; None if there is none.

    The backend ``runner`` serves from this disk. The Bento in the pods of a cluster can have been built on another
    machine, such as that of a release.

    Args:
        bento: A Bento that serves or has served.
        settings: The deployment.
    """
    if settings.serving.backend == "runner" or bento.bundle.is_dir():
        return bento
    return find_bento(bento.model_version, settings.serving_dir)


def load_model(bento: BentoReference, settings: Settings) -> Bundle:
    """Return the model of a Bento that serves or has served.

    If the Bento is in the pods of a cluster and not on this disk, it is built again from the registry.

    Args:
        bento: The Bento.
        settings: The deployment.

    Raises:
        BundleError: The model is damaged, or its Bento was deleted.
        ProjectMismatchError: The model is of another project.
        ProvenanceError: The model in the registry differs from its provenance, or the provenance is missing or not
            trusted.
        RegistryError: The registry is needed and does not answer, or does not contain the version.
    """
    found = local_bento(bento, settings)
    if found is None:
        from include.serving.deployment.package import package  # imports MLflow

        found = package(bento.model_version, settings)
    return found.load_bundle()


def prune_bentos(settings: Settings) -> list[str]:
    """Delete all Bentos except the Bentos in use and the newest Bentos, and return the deleted versions.

    Args:
        settings: The deployment, and how many of the newest Bentos to keep.

    Raises:
        ServingStateError: The serving state cannot be read; nothing is deleted.
        ClusterError: The serving state is in a cluster that does not answer; nothing is deleted.
    """
    used = open_state(settings).bentos_in_use()
    built = _built(settings.serving_dir)
    kept = settings.serving.kept_bentos
    old = [path for path in built[: max(0, len(built) - kept)] if path.name not in used]
    for path in old:
        # After the rename, an interrupted deletion cannot leave an incomplete Bento under its name.
        deleted = path.with_name(f".{path.name}")
        path.rename(deleted)
        shutil.rmtree(deleted)
    log.info("bentos pruned", extra={"deleted": len(old), "left": len(built) - len(old)})
    return [path.name for path in old]


def data_revisions(settings: Settings) -> set[str]:
    """Return the revisions of the raw data behind the Bentos on this disk, whose provenance a deployment checks."""
    found = set()
    for folder in _built(settings.serving_dir):
        envelope = folder / PROVENANCE_FILE
        if envelope.is_file():
            provenance = read_provenance(envelope.read_bytes(), settings.project, None, None, envelope)
            found.add(provenance.checksums.get("data", {}).get("revision", ""))
    return found - {""}


def _built(serving_dir: Path) -> list[Path]:
    """Return the folders of all Bentos, the newest last."""
    files = (bentos_home(serving_dir) / "bentos" / NAME).glob("[!.]*/bento.yaml")
    return [file.parent for file in sorted(files, key=lambda file: file.stat().st_mtime_ns)]
