"""Generate the days of a world: landing files, and separately the true churn probabilities.

The probabilities are for evaluation only; no training code reads them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from include.days import DayRange
from include.logs import get_logger
from simulator.customers import NOTICE_DAYS, Customers
from simulator.delivery import deliver, write_files, write_renamed
from simulator.hazard import churn_probability
from simulator.injections import Injection
from simulator.rows import tables_of
from simulator.state import open_state, save_state
from simulator.world import World

log = get_logger(__name__)

LANDING, TRUTH, STATE = "landing/subscription", "simulation/truth", "simulation/state.npz"
"""The layout of the folder of a world: landing files, true probabilities, and the state for appending days.

A deployment of project ``subscription`` with this folder as its home reads the landing files from there.
"""

_SUNDAY = 6
_SAVE_EVERY_DAYS = 30
_DELIVERY_STREAM = 2


@dataclass(frozen=True)
class Generated:
    """The result of ``generate``.

    Attributes:
        days: Number of generated days; 0 if all of them existed.
        last_day: The last day in the folder.
        active_customers: Number of active customers at the end of that day.
        events: Number of rows of sessions, transactions and tickets written.
        changes: Number of rows of customers written.
        bytes: Number of bytes written to the landing folder.
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
    report: Callable[[dt.date, int], None] = lambda day, events: None,
) -> Generated:
    """Generate the days of ``world`` up to ``last_day`` that ``out`` does not contain yet.

    A day does not depend on whether it is generated in one run or appended later.

    Args:
        out: The folder of the world. It gets ``landing/subscription/<source>/<day>.<format>``, and below
            ``simulation/`` the files ``truth/<day>.parquet`` (``customer_id`` and ``probability`` of churn within the
            following 30 days, for every active customer) and ``state.npz``.
        world: The parameters of the world.
        last_day: The last day to generate.
        injections: The injections.
        wants_truth: Selects the days for which true probabilities are written; the last day is always written.
        report: Called after each day with the day and the number of events so far.

    Raises:
        StateError: ``out`` contains another world.
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
            _write_truth(out / TRUTH / f"{day}.parquet", simulation.customers)
        if count % _SAVE_EVERY_DAYS == 0 or day == last_day:
            save_state(out / STATE, state)
        report(day, events)
    generated = Generated(len(missing), simulation.last_day, len(simulation.customers), events, changes, size)
    log.info("world generated", extra=generated.as_dict())
    return generated


def read_outcomes(landing: Path, truth: Path) -> pa.Table:
    """Join true probabilities and observed churn, for each day with 30 delivered days after it.

    Args:
        landing: The landing folder of the world.
        truth: Its folder of true probabilities.

    Returns:
        ``dt, customer_id, probability, churned``, sorted by day and customer, with a row for each customer who was
        active at the end of the day.
    """
    query = f"""
        WITH left_on AS (
            SELECT customer_id, CAST(updated_at AS DATE) AS left_on
            FROM read_csv(?, header = true) WHERE status = 'churned'
        ), truth AS (
            SELECT *, CAST(parse_filename(filename, true) AS DATE) AS dt FROM read_parquet(?, filename = true)
        )
        SELECT dt, customer_id, probability, coalesce(left_on <= dt + {NOTICE_DAYS}, false) AS churned
        FROM truth LEFT JOIN left_on USING (customer_id)
        WHERE dt + {NOTICE_DAYS} <= (SELECT max(CAST(parse_filename(file, true) AS DATE)) FROM glob(?))
        ORDER BY dt, customer_id
    """  # noqa: S608 - a constant of this package
    files = str(landing / "customers" / "*.csv")
    engine = duckdb.connect()
    engine.execute("SET TimeZone = 'UTC'")
    return engine.sql(query, params=[files, str(truth / "*.parquet"), files]).to_arrow_table()


def _write_truth(path: Path, customers: Customers) -> None:
    rows = pa.table({"customer_id": customers.customer_id, "probability": churn_probability(customers)})
    write_renamed(path, lambda partial: pq.write_table(rows, partial))
