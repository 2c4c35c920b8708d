"""The days of the time-lapse, and the world that is simulated on them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from include.days import DayRange
from include.projects import load_project
from simulator.generate import generate
from simulator.injections import Injection
from simulator.world import MEAN_STAY_DAYS, World

PROJECT = "subscription"
HORIZON_DAYS = load_project(PROJECT).label.horizon_days


@dataclass(frozen=True)
class Plan:
    """The days and the size of a time-lapse.

    Attributes:
        days: The number of simulated days.
        change_day: The number of the simulated day, from 1, on which the causes of churn change.
        history_days: The number of days before the first simulated day.
        customers: The approximate number of active customers on the first day of the history.
        seed: The seed of the simulation.
    """

    days: int
    change_day: int
    history_days: int
    customers: int
    seed: int = 1

    @property
    def history(self) -> DayRange:
        """The days before the first simulated day."""
        first = load_project(PROJECT).first_day
        return DayRange(first, first + dt.timedelta(days=self.history_days - 1))

    @property
    def simulated(self) -> DayRange:
        """The simulated days."""
        return DayRange(self.day(1), self.day(self.days))

    @property
    def epilogue(self) -> DayRange:
        """The days after the last simulated day, which complete the labels of the simulated days."""
        return DayRange(self.day(self.days + 1), self.day(self.days + HORIZON_DAYS))

    @property
    def change(self) -> dt.date:
        """The first day with the changed causes of churn."""
        return self.day(self.change_day)

    def day(self, number: int) -> dt.date:
        """Return the simulated day with a number, which starts at 1."""
        return self.history.last + dt.timedelta(days=number)

    def number(self, day: dt.date) -> int:
        """Return the number of a simulated day, which starts at 1."""
        return (day - self.history.last).days

    @property
    def world(self) -> World:
        """The parameters of the simulation."""
        # With this pace, the number of active customers stays about the same.
        pace_days = self.history_days + self.days
        known = round(self.customers * (MEAN_STAY_DAYS + pace_days) / MEAN_STAY_DAYS)
        return World(customers=known, first_day=self.history.first, seed=self.seed, pace_days=pace_days)

    def generate(self, home: Path) -> None:
        """Write the landing files of all days, including the epilogue.

        Args:
            home: The home of the deployment.
        """
        change = Injection(kind="changed_concept", from_day=self.change, strength=1.0)
        generate(home, self.world, self.epilogue.last, (change,))
