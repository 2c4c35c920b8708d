"""The data of the features benchmark: events, customers, and the files and silver tables that hold them."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import silver_table

_SEED = 20230101
DAY = dt.date(2024, 1, 1)
YEAR = DayRange.ending(DAY, 365)
_COLUMNS = {
    "transactions": """'t' || i AS transaction_id, CAST(round(random() * 60, 2) AS DECIMAL(18, 4)) AS amount,
        CASE WHEN random() < 0.05 THEN 'refund' WHEN random() < 0.3 THEN 'addon' ELSE 'subscription' END AS kind,
        CASE WHEN random() < 0.07 THEN 'failed' ELSE 'paid' END AS status,
        ['card', 'paypal', 'bank_transfer', 'direct_debit'][1 + CAST(floor(random() * 4) AS INT)] AS method,
        moment AS paid_at""",
    "sessions": """'s' || i AS session_id, CAST(floor(exp(4 + 3 * random())) AS BIGINT) AS duration_s,
        ['phone', 'desktop', 'tablet', 'tv'][1 + CAST(floor(random() * 4) AS INT)] AS device,
        ['home', 'catalogue', 'live', 'library', 'account'][1 + CAST(floor(random() * 5) AS INT)] AS section,
        1 + CAST(floor(random() * 20) AS BIGINT) AS pages, moment AS started_at""",
}


def write_lake(lake: str, customers: int, events: int) -> None:
    """Draw the silver tables.

    Args:
        lake: The address of the lake.
        customers: Number of customers.
        events: Number of events of each source.
    """
    for source in _COLUMNS:
        Lake(lake).table(silver_table(source)).replace(YEAR, _draw_events(source, YEAR, events, customers))
    Lake(lake).table(silver_table("customers")).replace([YEAR.first], _draw_customers(YEAR.first, customers))


def write_landing(folder: Path, customers: int, events: int, days: DayRange) -> None:
    """Draw the landing files of the subscription project.

    Args:
        folder: The landing folder of the project.
        customers: Number of customers.
        events: Number of events of each source.
        days: The days.
    """
    for source in [*_COLUMNS, "customers", "support_tickets"]:
        (folder / source).mkdir(parents=True)
    for source in _COLUMNS:
        rows = _draw_events(source, days, events, customers)
        for day in days:
            part = rows.filter(pc.equal(rows["dt"], pa.scalar(day))).drop_columns("dt")
            pq.write_table(part, folder / source / f"{day}.parquet")
    for day in days:
        people = _draw_customers(day, customers if day == days.first else 1).drop_columns("dt").to_pandas()
        people.to_csv(folder / "customers" / f"{day}.csv", index=False)
        ticket = {"ticket_id": f"k{day}", "customer_id": "c1", "topic": "billing", "priority": "low", "satisfaction": 3}
        line = json.dumps({**ticket, "opened_at": f"{day} 12:00:00"}) + "\n"
        (folder / "support_tickets" / f"{day}.jsonl").write_text(line)


def _draw_events(source: str, days: DayRange, rows: int, customers: int) -> pa.Table:
    engine = duckdb.connect()
    engine.execute("SET TimeZone = 'UTC'")
    engine.execute(f"SET enable_progress_bar = false; SELECT setseed({(_SEED + len(source)) % 1000 / 1000})").fetchall()
    return engine.sql(
        f"""WITH drawn AS (
            SELECT i, 'c' || CAST(floor(power(random(), 1.5) * {customers}) AS INT) AS customer_id,
                TIMESTAMP '{days.first}' + to_seconds(random() * {len(days) * 86_400 - 1}) AS moment
            FROM range({rows}) t(i)
        ) SELECT customer_id, {_COLUMNS[source]}, CAST(moment AS DATE) AS dt FROM drawn ORDER BY dt"""  # noqa: S608 - constants
    ).to_arrow_table()


def _draw_customers(day: dt.date, customers: int) -> pa.Table:
    rng = np.random.default_rng(_SEED)
    categories = {
        "plan": ("basic", "standard", "premium"),
        "country": ("AT", "DE", "FR", "IT", "NL", "PL"),
        "payment_method": ("card", "paypal", "bank_transfer", "direct_debit"),
        "channel": ("search", "social", "referral", "partner"),
    }
    return pa.table(
        {
            "customer_id": [f"c{number}" for number in range(customers)],
            "signup_date": pa.array(np.datetime64(day, "D") - rng.integers(0, 900, customers), pa.date32()),
            "status": ["active"] * customers,
            "age": rng.integers(18, 80, customers),
            **{name: rng.choice(values, customers) for name, values in categories.items()},
            "updated_at": pa.array([dt.datetime.combine(day, dt.time(1))] * customers, pa.timestamp("us")),
            "dt": pa.array([day] * customers, pa.date32()),
        }
    )
