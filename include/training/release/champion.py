"""The champion's recipe, with which the next candidate is compared."""

from __future__ import annotations

import json

from pydantic import ValidationError

from include.settings import Settings
from include.training.recipe import ChampionRecipe
from include.training.release.registry import Registry
from include.training.release.tracking import RECIPE_FILE


def champion_recipe(settings: Settings) -> ChampionRecipe | None:
    """Return the recipe of the champion.

    Args:
        settings: The project and the tracking server.

    Returns:
        The recipe; None if there is no champion, or if another version of the code recorded its recipe.

    Raises:
        RegistryError: The recipe cannot be fetched.
    """
    registry = Registry(settings)
    return recipe_of(registry, registry.version_of("champion"))


def recipe_of(registry: Registry, version: str | None) -> ChampionRecipe | None:
    """Return the recipe of a champion.

    Args:
        registry: The project's registry.
        version: The champion's version; None if there is no champion.

    Returns:
        The recipe; None if there is no champion, or if another version of the code recorded its recipe.

    Raises:
        RegistryError: The recipe cannot be fetched.
    """
    document = registry.document(version, RECIPE_FILE) if version else None
    if version is None or document is None:
        return None
    try:
        return ChampionRecipe.model_validate({"version": version, **json.loads(document)})
    except ValidationError:  # other hyperparameters, of another version of the code
        return None
