"""The recipe of a model: the features and the hyperparameters, with which a model can be fitted on other rows."""

from __future__ import annotations

import datetime as dt

from pydantic import BaseModel, ConfigDict


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Hyperparameters(_Frozen):
    """The tuned hyperparameters, under XGBoost's names; ``n_estimators`` is the number of trees."""

    n_estimators: int
    max_depth: int
    learning_rate: float
    subsample: float
    colsample_bytree: float
    min_child_weight: float


class Recipe(_Frozen):
    """A recipe.

    Attributes:
        features: The features, in the order of the matrix.
        hyperparameters: The hyperparameters.
    """

    features: tuple[str, ...]
    hyperparameters: Hyperparameters


class ChampionRecipe(_Frozen):
    """The recipe of the champion.

    Attributes:
        version: The champion's version in the registry.
        recipe: Its recipe.
        trained_through: The last snapshot day of the rows that it was fitted on.
    """

    version: str
    recipe: Recipe
    trained_through: dt.date
