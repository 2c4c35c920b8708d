"""The parameters of a simulated world, and its number of sign-ups per day."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
from pydantic import Field

from include.projects.yaml_files import Config

MEAN_STAY_DAYS = 165
"""Approximate mean tenure, with which the size of the installed base stays stable."""

_NEW_YEAR_PEAK = 10
"""The day of the year with the highest usage."""

_WEEKDAY_WEIGHTS = (1.15, 1.05, 1.0, 0.95, 0.9, 0.9, 1.05)


class World(Config):
    """One simulated business.

    Attributes:
        customers: Number of customers by the end of the first ``pace_days``: the installed base and all sign-ups of
            these days. Later sign-ups continue at the same pace.
        first_day: The first day with data.
        seed: The random seed.
        pace_days: The number of days over which ``customers`` is counted.
        season: The strength of the yearly season of usage. The rates of sessions and add-on purchases are above the
            yearly mean by this share in January, and below it by this share in July.
    """

    customers: int = Field(ge=10)
    first_day: dt.date
    seed: int = Field(ge=0)
    pace_days: int = Field(default=730, ge=1)
    season: float = Field(default=0.0, ge=0, lt=1)

    @property
    def installed_base(self) -> int:
        """Number of customers who signed up before the first day and are active on it."""
        return round(self.customers * MEAN_STAY_DAYS / (MEAN_STAY_DAYS + self.pace_days))

    def rng(self, day: dt.date, stream: int = 0) -> np.random.Generator:
        """Return the random generator of a day, so that a day does not depend on when it is generated.

        Args:
            day: The day.
            stream: Distinguishes independent generators of the same day.
        """
        return np.random.default_rng([self.seed, day.toordinal(), stream])

    def seasonal_factor(self, day: dt.date) -> float:
        """Return the factor of the usage rates on ``day``; its yearly mean is 1."""
        return 1 + self.season * math.cos(2 * math.pi * (day.timetuple().tm_yday - _NEW_YEAR_PEAK) / 365.25)

    def sign_ups(self, day: dt.date) -> int:
        """Return the number of sign-ups on ``day``, which must not precede the first day."""
        return self._signed_up_by(day) - self._signed_up_by(day - dt.timedelta(days=1))

    def known_before(self, day: dt.date) -> int:
        """Return the number of sign-ups before ``day``; customer numbers run from 1 to this count."""
        return self.installed_base + self._signed_up_by(day - dt.timedelta(days=1))

    def _signed_up_by(self, day: dt.date) -> int:
        share = self._weight((day - self.first_day).days + 1) / self._weight(self.pace_days)
        return math.floor((self.customers - self.installed_base) * share + 1e-6)

    def _weight(self, days: int) -> float:
        weeks, rest = divmod(days, 7)
        start = self.first_day.weekday()
        return weeks * sum(_WEEKDAY_WEIGHTS) + sum(_WEEKDAY_WEIGHTS[(start + i) % 7] for i in range(rest))
