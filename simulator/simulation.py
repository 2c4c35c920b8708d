"""The simulation: advance all customers of a world by one day at a time."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np

from include.days import DayRange
from simulator import behaviour
from simulator.behaviour import Payments, Sessions, Tickets
from simulator.customers import NEVER, NOTICE_DAYS, Array, Customers, draw_customers
from simulator.hazard import hazard, observe
from simulator.injections import Injection, strength_of
from simulator.world import World

_BURN_IN_DAYS = 60
_MEAN_TENURE_DAYS = 240
_LONGEST_TENURE_DAYS = 1_800
_WORLD_STREAM, _BASE_STREAM = 0, 1


@dataclass(frozen=True)
class Day:
    """The events of a day.

    Attributes:
        day: The day.
        customers: The active customers; events refer to them by position.
        sessions: Their sessions.
        payments: Their payments and refunds.
        tickets: Their tickets.
        changed: The customers who signed up, changed or churned.
        left: Whether each changed customer churned.
        changed_second: The second of the day of each change.
    """

    day: dt.date
    customers: Customers
    sessions: Sessions
    payments: list[Payments]
    tickets: Tickets
    changed: Customers
    left: Array
    changed_second: Array


class Simulation:
    """The customers of a world at the end of ``last_day``.

    Attributes:
        world: The parameters of the world.
        injections: The injections.
        customers: The active customers.
        last_day: The last simulated day.
    """

    def __init__(
        self, world: World, customers: Customers, last_day: dt.date, injections: tuple[Injection, ...] = ()
    ) -> None:
        self.world = world
        self.injections = injections
        self.customers = customers
        self.last_day = last_day

    @classmethod
    def start(cls, world: World, injections: tuple[Injection, ...] = ()) -> Simulation:
        """Return the simulation at the end of the day before the first day of the world.

        The installed base is simulated for 60 days without deliveries, so that the first day has a history. Decisions
        to leave are drawn only in the last 29 of these days, since an earlier decision would have led to churn.

        Args:
            world: The parameters of the world.
            injections: The injections.
        """
        day_before = world.first_day - dt.timedelta(days=1)
        days = DayRange.ending(day_before, _BURN_IN_DAYS)
        rng = world.rng(days.first, _BASE_STREAM)
        tenure = 1 + np.minimum(rng.exponential(_MEAN_TENURE_DAYS, world.installed_base), _LONGEST_TENURE_DAYS)
        base = draw_customers(rng, 1, np.sort(world.first_day.toordinal() - tenure.astype(np.int64)))
        simulation = cls(world, base.take(base.signed_up < days.first.toordinal()), days.first, injections)
        for day in days:
            simulation._enter(base.take(base.signed_up == day.toordinal()))
            simulation._simulate(day, world.rng(day), may_decide=(day_before - day).days < NOTICE_DAYS - 1)
        simulation.last_day = day_before
        return simulation

    def advance(self) -> Day:
        """Simulate the next day and return its events."""
        day = self.last_day + dt.timedelta(days=1)
        rng = self.world.rng(day, _WORLD_STREAM)
        leaving = self.customers.decided_on == day.toordinal() - NOTICE_DAYS
        gone = self.customers.take(leaving)
        self.customers = self.customers.take(~leaving)
        before = len(self.customers)
        signed_up = np.full(self.world.sign_ups(day), day.toordinal())
        self._enter(draw_customers(rng, self.world.known_before(day) + 1, signed_up))
        sessions, payments, tickets, touched = self._simulate(day, rng, may_decide=True)
        is_first = day == self.world.first_day
        touched[before if not is_first else 0 :] = True
        changed = gone.with_new(self.customers.take(touched))
        order = np.argsort(changed.customer_id, kind="stable")
        left = np.arange(len(changed)) < len(gone)
        # The first delivery contains all customers, with the start of the day as the time of the change.
        second = rng.integers(0, 86_400, len(changed)) * (0 if is_first else 1)
        self.last_day = day
        return Day(day, self.customers, sessions, payments, tickets, changed.take(order), left[order], second)

    def _enter(self, new: Customers) -> None:
        self.customers = self.customers.with_new(new)

    def _simulate(
        self, day: dt.date, rng: np.random.Generator, *, may_decide: bool
    ) -> tuple[Sessions, list[Payments], Tickets, Array]:
        customers = self.customers
        behaviour.drift(customers, day, rng)
        season = self.world.seasonal_factor(day)
        sessions = behaviour.use(customers, day, rng, strength_of(self.injections, "covariate_shift", day), season)
        payments = behaviour.pay(customers, day, rng, season)
        tickets = behaviour.complain(customers, day, rng)
        refunds = behaviour.refund(customers, tickets, rng)
        changed = behaviour.change(customers, day, rng)
        if may_decide:
            self._decide(day, rng)
        return sessions, [payments, refunds], tickets, changed

    def _decide(self, day: dt.date, rng: np.random.Generator) -> None:
        customers = self.customers
        concept = strength_of(self.injections, "changed_concept", day)
        chance = hazard(observe(customers, day), day, concept)
        customers.log_stay[day.toordinal() % NOTICE_DAYS] = np.log1p(-chance)
        decides = (customers.decided_on == NEVER) & (rng.random(len(customers)) < chance)
        customers.decided_on[decides] = day.toordinal()
