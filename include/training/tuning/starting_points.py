"""The first trials of a search: hyperparameters that are known to be good, moved into the project's search space."""

from __future__ import annotations

from collections.abc import Mapping

from optuna.distributions import FloatDistribution, IntDistribution

from include.projects.training import FloatRange, SearchSpace

StartingPoint = dict[str, float]
"""Hyperparameters by name, without the number of trees: every trial compares several numbers; see ``trials``."""

STARTING_POINTS: tuple[StartingPoint, ...] = (
    # The defaults of XGBoost.
    {"max_depth": 6, "learning_rate": 0.3, "subsample": 1.0, "colsample_bytree": 1.0, "min_child_weight": 1.0},
    # XGB-TD, tuned on 118 data sets: Holzmueller et al., 2024, Better by Default. There, .9 is the share per level.
    {"max_depth": 6, "learning_rate": 0.08, "subsample": 0.65, "colsample_bytree": 0.9, "min_child_weight": 5e-6},
    # Small trees on shares of rows and columns, for noisy labels: Hastie et al., 2009, Elements of Statistical
    # Learning, chapter 10.
    {"max_depth": 3, "learning_rate": 0.05, "subsample": 0.8, "colsample_bytree": 0.5, "min_child_weight": 10.0},
    # Deep trees with larger leaves, for many rows and interactions.
    {"max_depth": 9, "learning_rate": 0.1, "subsample": 0.8, "colsample_bytree": 0.8, "min_child_weight": 5.0},
)


def distributions(space: SearchSpace) -> Mapping[str, IntDistribution | FloatDistribution]:
    """Return Optuna's distributions of all hyperparameters of the space except for the number of trees."""

    def number(wanted: FloatRange) -> FloatDistribution:
        return FloatDistribution(wanted.low, wanted.high, log=wanted.log)

    return {
        "max_depth": IntDistribution(space.max_depth.low, space.max_depth.high),
        "learning_rate": number(space.learning_rate),
        "subsample": number(space.subsample),
        "colsample_bytree": number(space.colsample_bytree),
        "min_child_weight": number(space.min_child_weight),
    }


def starting_points(space: SearchSpace, champion: StartingPoint | None) -> list[StartingPoint]:
    """Return the champion's hyperparameters and ``STARTING_POINTS``, each moved to the nearest point of the space.

    Args:
        space: The project's search space.
        champion: The champion's hyperparameters; None if there is no champion.

    Returns:
        Distinct starting points, the champion's first.
    """
    moved = [
        {name: min(max(point[name], drawn.low), drawn.high) for name, drawn in distributions(space).items()}
        for point in ([champion] if champion else []) + list(STARTING_POINTS)
    ]
    return [point for number, point in enumerate(moved) if point not in moved[:number]]
