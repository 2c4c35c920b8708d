"""Promotion: make the challenger the champion if its comparison and, if required, a person allow it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from include.errors import ChurnflowError
from include.logs import get_logger
from include.projects import Project
from include.settings import Settings
from include.training.evaluation.leakage import LEAKAGE_FILE, require_no_leakage
from include.training.recipe_choice import Comparison
from include.training.release.champion import recipe_of
from include.training.release.registry import Registry
from include.training.release.tracking import COMPARISON_FILE

log = get_logger(__name__)

PROMOTION_TAG = "promotion"
"""The tag of a version with the decision on its promotion, as JSON."""


class PromotionError(ChurnflowError):
    """The comparison of a challenger cannot be used."""


@dataclass(frozen=True)
class Approval:
    """A person's decision on a promotion.

    Attributes:
        approved: Whether the model may become the champion.
        by: The person; None if nobody responded in time.
    """

    approved: bool
    by: str | None

    def __str__(self) -> str:
        if self.by is None:
            return "Not approved: no response in time."
        return f"{'Approved' if self.approved else 'Rejected'} by {self.by}."


@dataclass(frozen=True)
class PromotionResult:
    """The result of a promotion.

    Attributes:
        promoted: Whether the challenger is now the champion.
        reason: The reason as text.
        champion_version: The champion after the decision; None if there is none.
        comparison: The comparison that decided; None if the challenger already was the champion.
        approval: The person's decision; None if none was required or asked for.
    """

    promoted: bool
    reason: str
    champion_version: str | None
    comparison: Comparison | None = None
    approval: Approval | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain JSON types, for XCom."""
        return asdict(self)


def promote(settings: Settings, project: Project, version: str, approval: Approval | None = None) -> PromotionResult:
    """Make a version the champion if the comparison that its training recorded and the approval allow it.

    The alias ``previous`` then names the former champion. The tag ``promotion`` of the version records the decision. A
    second call for a promoted version changes nothing.

    Args:
        settings: The project and the registry.
        project: Whether a promotion requires an approval.
        version: The challenger's version.
        approval: A person's decision; None if nobody was asked. Without a required approval, it is ignored.

    Raises:
        LeakageError: The challenger has leakage findings, or was not checked.
        PromotionError: The training recorded no comparison, or the champion has changed since.
        RegistryError: The registry cannot be reached, or lacks the version.
    """
    registry = Registry(settings)
    champion_version = registry.version_of("champion")
    if champion_version == version:
        return PromotionResult(True, f"Version {version} already is the champion.", version)
    comparison = usable_comparison(registry, version, champion_version)
    promoted, reason = comparison.promote, comparison.reason
    if not promoted or project.training.promotion.approval == "none":
        approval = None
    elif approval is None:
        promoted, reason = False, f"{reason} The project requires an approval, and nobody was asked."
    else:
        promoted, reason = approval.approved, f"{reason} {approval}"
    result = PromotionResult(promoted, reason, version if promoted else champion_version, comparison, approval)
    # The tag is set before the aliases: a repeated call returns early if the version already is the champion.
    registry.set_tags(version, {PROMOTION_TAG: json.dumps(result.as_dict() | {"comparison": None})})
    if promoted:
        if champion_version is not None:
            registry.set_alias("previous", champion_version)
        registry.set_alias("champion", version)
    log.info("promotion decided", extra={"version": version} | comparison.as_dict() | {"promote": promoted})
    return result


def usable_comparison(registry: Registry, version: str, champion_version: str | None) -> Comparison:
    """Return the comparison that a training recorded, if a decision can be based on it.

    Args:
        registry: The project's registry.
        version: The challenger's version.
        champion_version: The present champion; None if there is none.

    Raises:
        LeakageError: The challenger has leakage findings, or was not checked.
        PromotionError: The training recorded no comparison, or the champion has changed since.
        RegistryError: The registry cannot be reached, or lacks the version.
    """
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
    return comparison


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
