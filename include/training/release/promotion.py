"""Promotion: make the challenger the champion if its comparison allows it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from include.errors import ChurnflowError
from include.logs import get_logger
from include.settings import Settings
from include.training.evaluation.leakage import LEAKAGE_FILE, require_no_leakage
from include.training.recipe_choice import Comparison
from include.training.release.champion import recipe_of
from include.training.release.registry import Registry
from include.training.release.tracking import COMPARISON_FILE

log = get_logger(__name__)


class PromotionError(ChurnflowError):
    """The comparison of a challenger cannot be used."""


@dataclass(frozen=True)
class PromotionResult:
    """The result of a promotion.

    Attributes:
        promoted: Whether the challenger is now the champion.
        reason: The reason as text.
        champion_version: The champion after the decision; None if there is none.
        comparison: The comparison that decided; None if the challenger already was the champion.
    """

    promoted: bool
    reason: str
    champion_version: str | None
    comparison: Comparison | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types, for XCom."""
        return asdict(self)


def promote(settings: Settings, version: str) -> PromotionResult:
    """Make a version the champion if the comparison that its training recorded allows it.

    The alias ``previous`` then names the former champion. A second call for a promoted version changes nothing.

    Args:
        settings: The project and the registry.
        version: The challenger's version.

    Raises:
        LeakageError: The challenger has leakage findings, or was not checked.
        PromotionError: The training recorded no comparison, or the champion has changed since.
        RegistryError: The registry cannot be reached, or lacks the version.
    """
    registry = Registry(settings)
    champion_version = registry.version_of("champion")
    if champion_version == version:
        return PromotionResult(True, f"Version {version} already is the champion.", version)
    require_no_leakage(registry.document(version, LEAKAGE_FILE), f"{registry.name} version {version}")
    comparison = _comparison(registry, version)
    current = recipe_of(registry, champion_version)
    if (current.version if current else None) != comparison.champion_version:
        raise PromotionError(
            f"Version {version} was compared with {_named(comparison.champion_version)}, and the champion is now "
            f"{_named(champion_version)}.",
            where=f"{registry.name} version {version}",
            remedy="Run churn_train again.",
        )
    if comparison.promote:
        if champion_version is not None:
            registry.set_alias("previous", champion_version)
        registry.set_alias("champion", version)
    log.info("promotion decided", extra={"version": version} | comparison.as_dict())
    return PromotionResult(
        promoted=comparison.promote,
        reason=comparison.reason,
        champion_version=version if comparison.promote else champion_version,
        comparison=comparison,
    )


def _comparison(registry: Registry, version: str) -> Comparison:
    try:
        return TypeAdapter(Comparison).validate_json(registry.document(version, COMPARISON_FILE) or b"")
    except ValidationError as error:
        raise PromotionError(
            f"The run has no readable {COMPARISON_FILE}: the model was not compared with the champion.",
            where=f"{registry.name} version {version}",
            remedy="Train the model again with this version of the code.",
        ) from error


def _named(version: str | None) -> str:
    return f"version {version}" if version else "no champion"
