"""The parameters of a simulated world, and how many customers sign up on which day."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
from pydantic import Field

from include.projects.base import Config

MEAN_STAY_DAYS = 165
"""About how long customers stay; with it the installed base neither grows nor shrinks much."""

_WEEKDAY_WEIGHTS = (1.15, 1.05, 1.0, 0.95, 0.9, 0.9, 1.05)


class World(Config):
    """One simulated business.

    Attributes:
        customers: How many customers are known by the end of the first ``pace_days``: those that are there on the first
            day, and all who sign up within these days. Afterwards they go on signing up at the same pace.
        first_day: The first day with data.
        seed: Seeds everything.
        pace_days: The days over which ``customers`` is counted.
    """

    customers: int = Field(ge=10)
    first_day: dt.date
    seed: int = Field(ge=0)
    pace_days: int = Field(default=730, ge=1)

    @property
    def installed_base(self) -> int:
        """Customers who signed up before the first day and are active on it."""
        return round(self.customers * MEAN_STAY_DAYS / (MEAN_STAY_DAYS + self.pace_days))

    def rng(self, day: dt.date, stream: int = 0) -> np.random.Generator:
        """Return the random numbers of ``day``: the same whenever the day is generated."""
        return np.random.default_rng([self.seed, day.toordinal(), stream])

    def sign_ups(self, day: dt.date) -> int:
        """Return how many customers sign up on ``day``, which is not before the first day."""
        return self._signed_up_by(day) - self._signed_up_by(day - dt.timedelta(days=1))

    def known_before(self, day: dt.date) -> int:
        """Return how many customers had signed up before ``day``; their numbers are 1 to that count."""
        return self.installed_base + self._signed_up_by(day - dt.timedelta(days=1))

    def _signed_up_by(self, day: dt.date) -> int:
        share = self._weight((day - self.first_day).days + 1) / self._weight(self.pace_days)
        return math.floor((self.customers - self.installed_base) * share + 1e-6)

    def _weight(self, days: int) -> float:
        weeks, rest = divmod(days, 7)
        start = self.first_day.weekday()
        return weeks * sum(_WEEKDAY_WEIGHTS) + sum(_WEEKDAY_WEIGHTS[(start + i) % 7] for i in range(rest))
