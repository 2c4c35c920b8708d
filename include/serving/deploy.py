"""The steps of a deployment as its DAG calls them: versions and references in, plain dictionaries out."""

from __future__ import annotations

from include.serving import rollout
from include.serving.package import build_bento
from include.serving.pointer import BentoReference
from include.serving.smoke import smoke_test
from include.settings import Settings
from include.training.registry import Registry


def build(model_version: str, settings: Settings) -> dict[str, str]:
    """Build the Bento of a registered model version.

    Returns:
        A reference to it, as the other steps take it: ``bento``, ``model_version``, ``path``.

    Raises:
        RegistryError: The registry does not answer, or does not hold that version.
        BundleError: The version's bundle is damaged.
        PackagingError: BentoML refused.
    """
    # Training logs the bundle before the registry numbers it.
    bundle = Registry(settings).bundle(model_version).with_version(model_version)
    return build_bento(bundle, settings.serving_dir).as_dict()


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
