"""The champion's hyperparameters, with which the next search starts."""

from __future__ import annotations

import json

from pydantic import ValidationError

from include.settings import Settings
from include.training.fitting.booster import Hyperparameters
from include.training.release.registry import Registry
from include.training.release.tracking import TUNING_FILE


def champion_recipe(settings: Settings) -> dict[str, float] | None:
    """Return the champion's hyperparameters by name; None if there is no champion, or if their names differ.

    Args:
        settings: The project and the tracking server.

    Raises:
        RegistryError: The record of the champion's search cannot be fetched.
    """
    registry = Registry(settings)
    version = registry.version_of("champion")
    document = registry.document(version, TUNING_FILE) if version else None
    try:
        return Hyperparameters.model_validate(json.loads(document)["chosen"]).model_dump() if document else None
    except ValidationError:  # other hyperparameters, of an earlier version of the code
        return None
