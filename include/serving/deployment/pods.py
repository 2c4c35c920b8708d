"""Bring a model into service in the pods of the endpoint on Kubernetes.

A pod runs the image of one model version, which a release has built, signed and pushed. The release records the image
and its Bento as tags of the version in the registry, and the signed provenance of the image as a file of its run.
"""

from __future__ import annotations

from dataclasses import dataclass

from include.errors import ChurnflowError
from include.logs import get_logger
from include.provenance.check import missing_provenance, require_image
from include.serving.deployment.cluster import EndpointDeployment, PodModel
from include.serving.deployment.kubernetes_client import ClusterError
from include.serving.deployment.state import BentoReference, ServingState
from include.settings import Settings
from include.training.release.registry import Registry

log = get_logger(__name__)

IMAGE_TAG, BENTO_TAG = "image", "bento"
"""The tags of a version in the registry with its image, by digest, and the Bento inside."""
IMAGE_PROVENANCE_FILE = "image_provenance.json"
"""The file of the version's run with the signed provenance of its image."""


@dataclass(frozen=True)
class Release:
    """The image of a model version.

    Attributes:
        image: The image with its digest.
        bento: The version of the Bento inside.
        statement: The signed provenance of the image; empty for an image without provenance.
    """

    image: str
    bento: str
    statement: str = ""


def record_release(model_version: str, release: Release, settings: Settings) -> None:
    """Record the image of a model version in the registry, so that the version can be deployed.

    Args:
        model_version: The version.
        release: The image.
        settings: The registry.

    Raises:
        RegistryError: The registry does not answer, or has no such version.
    """
    registry = Registry(settings)
    if release.statement:
        registry.store_document(model_version, IMAGE_PROVENANCE_FILE, release.statement)
    registry.set_tags(model_version, {IMAGE_TAG: release.image, BENTO_TAG: release.bento})


def released(model_version: str, settings: Settings) -> Release:
    """Return the image that was released for a model version.

    Args:
        model_version: The version.
        settings: The registry.

    Raises:
        ClusterError: The version was not released.
        RegistryError: The registry does not answer, or has no such version.
    """
    registry = Registry(settings)
    tags = registry.record(model_version).tags
    if IMAGE_TAG not in tags or BENTO_TAG not in tags:
        raise ClusterError(
            f"There is no image of version {model_version}.",
            where=f"tags {IMAGE_TAG} and {BENTO_TAG} of {registry.name} version {model_version}",
            remedy=f"Push the Git tag model-v{model_version}, whose release builds the image. Then deploy again.",
        )
    statement = registry.document(model_version, IMAGE_PROVENANCE_FILE) or b""
    return Release(tags[IMAGE_TAG], tags[BENTO_TAG], statement.decode(errors="replace"))


class Pods:
    """The pods of the endpoint before and after a rollout.

    Args:
        candidate: The Bento that should serve.
        state: The record of the rollouts.
        settings: The Deployment, the registry and the public key.

    Raises:
        ProvenanceError: The image differs from its provenance, or the provenance is missing or not trusted.
        ClusterError: The version was not released, or the Kubernetes API refuses a request or does not answer.
        RegistryError: No former pod had the image of the Bento, and the registry does not answer.
    """

    def __init__(self, candidate: BentoReference, state: ServingState, settings: Settings) -> None:
        self._deployment = EndpointDeployment(settings.serving.kubernetes)
        self._seconds = settings.serving.kubernetes.rollout_seconds
        kept = self._deployment.former_models()
        key, version = settings.provenance.public_key, candidate.model_version
        must_have_statement = key is not None or self._deployment.checks_provenance()
        before = state.newest_of(version)
        same = [model for model in kept if model.version == version and (model.statement or not must_have_statement)]
        if same and before is not None and before.bento.bento == candidate.bento:
            self._candidate = same[0]
        else:
            release = released(version, settings)
            self._candidate = PodModel(version, release.image, release.statement)
        if self._candidate.statement:
            envelope = self._candidate.statement.encode()
            require_image(envelope, self._candidate.image, settings.project, version, key)
        elif must_have_statement:
            raise missing_provenance(f"image {self._candidate.image}")
        self._former = self._model_to_restore(kept, state.served(), version)

    def _model_to_restore(self, kept: list[PodModel], served: BentoReference | None, version: str) -> PodModel:
        """Return the recorded model, which differs from the pods' if an earlier rollout was killed in the middle."""
        current = self._deployment.model()
        if served is not None:
            recorded = [model for model in kept if model.version == served.model_version]
            return current if current.version == served.model_version else next(iter(recorded), current)
        others = [model for model in kept if model.version != version]
        return next(iter(others), current) if current.version == version else current

    def replace(self) -> None:
        """Start the rolling update, and wait until all pods serve the candidate.

        Raises:
            ClusterError: The pods did not come into service, or the Kubernetes API refuses a request.
        """
        self._deployment.set_model(self._candidate)
        self._deployment.wait(self._seconds)

    def restore(self) -> None:
        """Return to the former image; errors are logged, since the error of the rollout is reported."""
        try:
            self._deployment.set_model(self._former)
            self._deployment.wait(self._seconds)
        except ChurnflowError as error:
            log.error("former pods not restored", extra={"error": str(error)})
