"""The evaluations of the recipes of deployed models, with which realised metrics are compared."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from include.serving.deployment.state import ServingState
from include.settings import Settings
from include.training.model.bundle import BundleError
from include.training.model.contract import RecipeEvaluation

Evaluations = Callable[[str], RecipeEvaluation | None]
"""Returns the evaluation of the recipe of a model version; None if it is not known."""


def deployed_evaluations(settings: Settings) -> Evaluations:
    """Return the evaluations of all model versions that were deployed and whose Bento has not been deleted.

    Args:
        settings: The folder of the serving state.
    """
    state = ServingState(settings.serving_dir)

    @cache
    def evaluation(version: str) -> RecipeEvaluation | None:
        revision = state.newest_of(version)
        try:
            return revision.bento.load_bundle().contract.evaluation if revision else None
        except BundleError:  # deleted, or of another version of the code
            return None

    return evaluation
