"""Fit models by their recipes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from include.projects import Project
from include.training.data.dataset import DatasetRef
from include.training.data.rows import Rows, row_splits
from include.training.fitting.booster import Device, FitParts, Fitted, part_fitter
from include.training.fitting.fitted_model import FittedModel, fit_model
from include.training.fitting.history import History, choose_history
from include.training.model.contract import ModelContract
from include.training.recipe import Recipe


@dataclass(frozen=True)
class RecipeFitter:
    """Fits models by their recipes, on rows of one data set.

    Attributes:
        project: The project.
        dataset: The data set.
        contract: The contract of a model with all features.
        device: The device to train on.
        workers: Number of parallel fits.
    """

    project: Project
    dataset: DatasetRef
    contract: ModelContract
    device: Device
    workers: int

    def contract_of(self, recipe: Recipe) -> ModelContract:
        """Return the contract of a model of a recipe, whose features are among those of the data set."""
        return self.contract.with_features(recipe.features)

    def fit_parts(self, rows: Rows, recipe: Recipe, half_life_days: float | None) -> FitParts:
        """Return a function that fits boosters of a recipe on parts of ``rows``, with weights of a half-life."""
        return part_fitter(
            rows.with_features(recipe.features),
            list(recipe.features),
            recipe.hyperparameters,
            self.project.training,
            half_life_days=half_life_days,
            device=self.device,
            workers=self.workers,
        )

    def history(self, rows: Rows, recipe: Recipe) -> History:
        """Choose the half-life for a model of a recipe that is fitted on ``rows``; without time, the weights are equal.

        See ``choose_history``.
        """
        if not self.project.has_time:
            return History()
        return choose_history(
            rows.with_features(recipe.features),
            self.project,
            self.dataset.manifest.horizon_days,
            lambda part, half_life_days: self.fit_booster(part, recipe, half_life_days),
            self.workers,
        )

    def fit_booster(self, rows: Rows, recipe: Recipe, half_life_days: float | None) -> Fitted:
        """Return a booster of a recipe that is fitted on all rows, with weights of a half-life."""
        (fitted,) = self.fit_parts(rows, recipe, half_life_days)([np.ones(len(rows), dtype=bool)])
        return fitted

    def fit(self, rows: Rows, recipe: Recipe) -> FittedModel:
        """Return a model of a recipe that is fitted on all rows, with the half-life that ``history`` chooses."""
        history = self.history(rows, recipe)
        return fit_model(
            rows.with_features(recipe.features),
            row_splits(rows, self.dataset.manifest, self.project.training),
            self.project.training,
            history,
            self.fit_parts(rows, recipe, history.half_life_days),
        )

    def probabilities(self, model: FittedModel, recipe: Recipe, rows: Rows) -> NDArray[np.float32]:
        """Return a model's churn probabilities for n rows, shape (n,)."""
        return model.bundle(self.contract_of(recipe)).predict_matrix(rows.with_features(recipe.features).matrix)
