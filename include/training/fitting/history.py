"""How much history a model is fitted on: all snapshots, the latest snapshots, or weights that fall with the age."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator


class History(BaseModel):
    """The weight of a row by the age of its snapshot; without a window and a half-life, all rows have the weight 1.

    Attributes:
        window_days: Only snapshots less than this number of days older than the newest one are used.
        half_life_days: The weight of a snapshot halves with each such number of days before the newest one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    window_days: int | None = Field(default=None, gt=0)
    half_life_days: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _one_kind(self) -> History:
        if self.window_days and self.half_life_days:
            raise ValueError("a history has a window or a half-life, not both")
        return self

    @property
    def name(self) -> str:
        """The history as text."""
        if self.window_days:
            return f"the last {self.window_days} days"
        if self.half_life_days:
            return f"weights that halve every {self.half_life_days} days"
        return "all snapshots"

    def selected(self, days: NDArray[np.datetime64], part: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which of n rows are in a part and in the window that ends with the newest day of the part.

        Args:
            days: The snapshot day of each row, shape (n,).
            part: A mask of the rows of the part, shape (n,).
        """
        if not self.window_days:
            return part
        first = days[part].max() - np.timedelta64(self.window_days, "D")
        inside: NDArray[np.bool_] = part & (days > first)
        return inside

    def weights(self, days: NDArray[np.datetime64]) -> NDArray[np.float32] | None:
        """Return the weights of n rows of a window, shape (n,); None if all rows have the same weight.

        Args:
            days: The snapshot day of each row, shape (n,).
        """
        if not self.half_life_days:
            return None
        age = (days.max() - days).astype("timedelta64[D]").astype(np.float64)
        return np.asarray(0.5 ** (age / self.half_life_days), dtype=np.float32)


ALL_HISTORY = History()
