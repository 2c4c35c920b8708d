"""The steps of a deployment as its DAG calls them: versions and references in, plain dictionaries out."""

from __future__ import annotations

import tempfile
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException

from include.errors import ChurnflowError
from include.logs import get_logger
from include.serving import rollout
from include.serving.package import build_bento
from include.serving.pointer import BentoReference
from include.serving.smoke import smoke_test
from include.settings import Settings
from include.training.bundle import Bundle

log = get_logger(__name__)

BUNDLE_ARTIFACT = "bundle"


class RegistryError(ChurnflowError):
    """The registry does not hold the model version, or its run holds no bundle."""


def fetch_bundle(model_version: str, settings: Settings) -> Bundle:
    """Return the bundle of a registered model version, under the registry's number.

    Raises:
        RegistryError: The registry does not answer or does not hold it.
        BundleError: What it holds is damaged.
    """
    name = f"churn-{settings.project}"
    uri = settings.mlflow.tracking_uri
    with tempfile.TemporaryDirectory(prefix="churn-bundle-") as folder:
        try:
            run_id = mlflow.MlflowClient(uri, uri).get_model_version(name, model_version).run_id
            path = mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path=BUNDLE_ARTIFACT, dst_path=folder, tracking_uri=uri
            )
        except MlflowException as error:
            raise RegistryError(
                f"The model's bundle cannot be fetched: {error.message}",
                where=f"{name} version {model_version} at {uri}",
                remedy="Check the version and that the tracking server runs.",
            ) from error
        return Bundle.load(Path(path)).with_version(model_version)


def build(model_version: str, settings: Settings) -> dict[str, str]:
    """Build the Bento of a registered model version.

    Returns:
        A reference to it, as the other steps take it: ``bento``, ``model_version``, ``path``.
    """
    return build_bento(fetch_bundle(model_version, settings), settings.serving_dir).as_dict()


def smoke(bento: dict[str, str], settings: Settings) -> dict[str, float]:
    """Start the Bento aside and compare its answers with training's; ``rows`` and ``largest_difference``."""
    return smoke_test(BentoReference(**bento), settings).as_dict()


def roll_out(bento: dict[str, str], settings: Settings) -> dict[str, str]:
    """Put the Bento in service; on failure the former one is put back and the error says so."""
    return rollout.roll_out(BentoReference(**bento), settings).as_dict()


def verify(bento: dict[str, str], settings: Settings) -> dict[str, str]:
    """Check that the endpoint serves the Bento and answers as training did."""
    rollout.verify(BentoReference(**bento), settings)
    return bento


def roll_back(settings: Settings) -> dict[str, str]:
    """Put the Bento that served before back in service."""
    return rollout.roll_back(settings).as_dict()
