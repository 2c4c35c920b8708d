"""The steps of a deployment as its DAG calls them: versions and references in, plain dictionaries out."""

from __future__ import annotations

from typing import Literal

from mlflow.exceptions import MlflowException

from include.serving.deployment import rollout
from include.serving.deployment.package import build_bento, built_bento, prune_bentos
from include.serving.deployment.pointer import PREVIOUS, BentoReference, read_pointer
from include.serving.deployment.rollout import RolloutError
from include.serving.deployment.smoke import smoke_test
from include.settings import Settings
from include.training.evaluation.leakage import LEAKAGE_FILE, require_no_leakage
from include.training.release.registry import Registry, RegistryError

Role = Literal["serve", "shadow"]


def resolve(model_version: str | None, role: Role, settings: Settings) -> str:
    """Return ``model_version``, or without one the registry's champion for ``serve`` and challenger for ``shadow``.

    Whatever is to serve must be free of suspected leaks, also a version that a person has typed or named champion.

    Raises:
        RegistryError: The registry does not answer, or names no such version.
        LeakageError: A leak is suspected in the version to serve, or nobody has looked.
    """
    registry = Registry(settings)
    try:
        version = model_version or registry.require("champion" if role == "serve" else "challenger")
    except MlflowException as error:
        raise _silent(settings, error) from error
    if role == "serve":
        _require_no_leakage(registry, version)
    return version


def build(model_version: str, settings: Settings) -> dict[str, str]:
    """Build the Bento of a registered model version.

    Returns:
        A reference to it, as the other steps take it: ``bento``, ``model_version``, ``path``.

    Raises:
        RegistryError: The registry does not answer, or does not hold that version.
        BundleError: The version's bundle is damaged.
        PackagingError: BentoML refused.
    """
    return build_bento(Registry(settings).bundle(model_version), model_version, settings.serving_dir).as_dict()


def smoke(bento: dict[str, str], settings: Settings) -> dict[str, float]:
    """Start the Bento aside and compare its answers with training's; ``rows`` and ``largest_difference``."""
    return smoke_test(BentoReference(**bento), settings).as_dict()


def roll_out(bento: dict[str, str], settings: Settings) -> dict[str, str]:
    """Put the Bento in service; on failure the former one goes on and the error says so. Old Bentos are deleted."""
    served = rollout.roll_out(BentoReference(**bento), settings)
    prune_bentos(settings.serving_dir, settings.serving.kept_bentos)
    return served.as_dict()


def start_shadow(bento: dict[str, str], settings: Settings) -> dict[str, str]:
    """Let the Bento's model answer in the shadow of the one in service."""
    return rollout.start_shadow(BentoReference(**bento), settings).as_dict()


def roll_back(model_version: str | None, settings: Settings) -> dict[str, str]:
    """Put the version that served before in service, or another, from this disk or else built from the registry.

    What served before was looked at for leaks when it came into service; any other version must be free of them, too.

    Args:
        model_version: The version; by default the one that served before the current one.
        settings: The deployment.

    Raises:
        RolloutError: None has served before, or it did not come into service; the current one goes on.
        RegistryError: It is another version than the one before, and the registry does not hold it or does not answer.
        LeakageError: A leak is suspected in that version, or nobody has looked; nothing has changed.
    """
    former = read_pointer(settings.serving_dir, PREVIOUS)
    version = model_version or (former.model_version if former else None)
    if version is None:
        raise RolloutError(
            "No Bento has served before the current one.",
            where=str(settings.serving_dir / PREVIOUS),
            remedy="Say which version you want.",
        )
    if former is not None and former.model_version == version and former.bundle.is_dir():
        target = former
    else:
        _require_no_leakage(Registry(settings), version)
        target = built_bento(version, settings.serving_dir) or BentoReference(**build(version, settings))
    return rollout.roll_out(target, settings).as_dict()


def restore_alias(model_version: str, settings: Settings) -> str:
    """Name the version that serves champion again, after a rollback.

    Raises:
        RegistryError: The registry does not answer. The endpoint stays rolled back: the model that it left was not
            wanted, and this step can be repeated alone.
    """
    try:
        Registry(settings).restore_champion(model_version)
    except MlflowException as error:
        raise RegistryError(
            f"The endpoint serves version {model_version}, but the registry could not be told: {error.message}",
            where=settings.mlflow.tracking_uri,
            remedy="See that the tracking server runs, then clear this task; until then the registry names another.",
        ) from error
    return model_version


def _require_no_leakage(registry: Registry, version: str) -> None:
    require_no_leakage(registry.document(version, LEAKAGE_FILE), f"{registry.name} version {version}")


def _silent(settings: Settings, error: MlflowException) -> RegistryError:
    return RegistryError(
        f"The registry does not answer: {error.message}",
        where=settings.mlflow.tracking_uri,
        remedy="See that the tracking server runs, then deploy again. The endpoint goes on as it was.",
    )
