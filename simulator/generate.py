"""Generate a world's days: landing files, and apart from them the true probabilities."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from include.days import DayRange
from include.logs import get_logger
from simulator.delivery import deliver, write_files
from simulator.injections import Injection
from simulator.rows import tables_of
from simulator.state import open_state, save_state
from simulator.truth import write_truth
from simulator.world import World

log = get_logger(__name__)

LANDING, TRUTH, STATE = "landing/subscription", "simulation/truth", "simulation/state.npz"
"""What a world's folder holds: landing files, true probabilities (for evaluation only), and the state to go on from.

The landing files lie where a deployment of project ``subscription`` whose home is this folder looks for them.
"""

_SUNDAY = 6
_SAVE_EVERY_DAYS = 30
_DELIVERY_STREAM = 2


@dataclass(frozen=True)
class Generated:
    """What was generated.

    Attributes:
        days: Days; 0 when all of them were there already.
        last_day: The last day that the folder now holds.
        active_customers: Customers active when it closed.
        events: Rows of sessions, transactions and tickets written.
        changes: Rows of customers written.
        bytes: Bytes written to the landing folder.
    """

    days: int
    last_day: dt.date
    active_customers: int
    events: int
    changes: int
    bytes: int

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values for a log record or JSON."""
        return asdict(self) | {"last_day": str(self.last_day)}


def is_sunday(day: dt.date) -> bool:
    """Return whether ``day`` is a Sunday."""
    return day.weekday() == _SUNDAY


def generate(
    out: Path,
    world: World,
    last_day: dt.date,
    injections: tuple[Injection, ...] = (),
    *,
    wants_truth: Callable[[dt.date], bool] = is_sunday,
    told: Callable[[dt.date, int], None] = lambda day, events: None,
) -> Generated:
    """Generate the days of ``world`` up to ``last_day`` that ``out`` does not hold yet.

    A day is the same whether it is generated in one go or appended later.

    Args:
        out: The world's folder; gets ``landing/subscription/<source>/<day>.<format>``, and below ``simulation/``
            ``truth/<day>.parquet`` (``customer_id``, ``probability`` of leaving within the 30 days after it, for all
            active) and ``state.npz``.
        world: The world.
        last_day: The last day wanted.
        injections: What changes or goes wrong.
        wants_truth: The days whose true probabilities are written, beside the last day.
        told: Called after each day with the day and the events so far.

    Raises:
        StateError: ``out`` holds another world.
    """
    (out / STATE).parent.mkdir(parents=True, exist_ok=True)
    state = open_state(out / STATE, world, injections)
    simulation = state.simulation
    missing = list(DayRange(simulation.last_day, max(last_day, simulation.last_day)))[1:]
    events = changes = size = 0
    for count, day in enumerate(missing, start=1):
        happened = tables_of(simulation.advance())
        arrived = deliver(happened, day, state.held, injections, world.rng(day, _DELIVERY_STREAM))
        size += write_files(out / LANDING, day, arrived)
        events += sum(rows.num_rows for source, rows in arrived.items() if source != "customers")
        changes += arrived["customers"].num_rows
        if wants_truth(day) or day == last_day:
            write_truth(out / TRUTH / f"{day}.parquet", simulation.customers)
        if count % _SAVE_EVERY_DAYS == 0 or day == last_day:
            save_state(out / STATE, state)
        told(day, events)
    generated = Generated(len(missing), simulation.last_day, len(simulation.customers), events, changes, size)
    log.info("world generated", extra=generated.as_dict())
    return generated
