"""Interventions: changed events in the silver tables of a copied lake, before the scored day."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from include.days import DayRange
from include.lake import Lake
from include.lake.table_names import silver_table

Change = Callable[[Lake, dt.date, Sequence[str]], None]
"""Function of lake, day and customers that changes silver rows up to the day."""


def copied(lake: Lake, folder: Path) -> Lake:
    """Return a lake with a copy of the silver tables."""
    shutil.copytree(Path(lake.uri) / "silver", folder / "silver")
    return Lake(str(folder))


def complaints(*days_ago: int) -> Change:
    """Add one complaint per customer on each of these days."""

    def change(lake: Lake, day: dt.date, customers: Sequence[str]) -> None:
        for ago in days_ago:
            when = day - dt.timedelta(days=ago)
            tickets = {
                "ticket_id": [f"complaint-{ago}-{customer}" for customer in customers],
                "customer_id": customers,
                "topic": "technical",
                "priority": "high",
                "satisfaction": 1,
                "opened_at": pd.Timestamp(when) + pd.Timedelta(hours=12),
                "dt": when,
            }
            _edit(lake, "support_tickets", DayRange.single(when), lambda rows, new=tickets: _joined(rows, new))

    return change


def sessions_kept(share: float, *, of_days: int) -> Change:
    """Keep this share of the sessions of each customer in the last days, evenly spread."""

    def keep(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows.sort_values("started_at")
        number = rows.groupby("customer_id").cumcount()
        return rows[((number + 1) * share).astype(int) > (number * share).astype(int)]

    def change(lake: Lake, day: dt.date, customers: Sequence[str]) -> None:
        _edit(lake, "sessions", DayRange.ending(day, of_days), keep)

    return change


def last_charge_fails(*, retries: int) -> Change:
    """Let the last charge of each customer within 30 days fail, with the retries 4 and 8 days later."""

    def change(lake: Lake, day: dt.date, customers: Sequence[str]) -> None:
        def fail(rows: pd.DataFrame) -> pd.DataFrame:
            charges = rows[rows["kind"] == "subscription"].sort_values("paid_at")
            last = charges.groupby("customer_id").tail(1)
            rows.loc[last.index, "status"] = "failed"
            again = [_retry(rows.loc[last.index], number) for number in range(1, retries + 1)]
            rows = pd.concat([rows, *again])
            return rows[rows["dt"] <= day]

        _edit(lake, "transactions", DayRange.ending(day, 30), fail)

    return change


def twins(customers: Sequence[str]) -> Change:
    """Add a customer ``twin-<id>`` with the same history for each of ``customers``."""
    keys = {
        "customers": None,
        "sessions": "session_id",
        "transactions": "transaction_id",
        "support_tickets": "ticket_id",
    }

    def change(lake: Lake, day: dt.date, _: Sequence[str]) -> None:
        for source, key in keys.items():

            def double(rows: pd.DataFrame, key: str | None = key) -> pd.DataFrame:
                theirs = rows[rows["customer_id"].isin(customers)].copy()
                for column in filter(None, ("customer_id", key)):
                    theirs[column] = "twin-" + theirs[column]
                return pd.concat([rows, theirs])

            _edit(lake, source, lake.table(silver_table(source)).days(), double)

    return change


def _retry(failed: pd.DataFrame, number: int) -> pd.DataFrame:
    moment = failed["paid_at"] + pd.Timedelta(days=4 * number)
    name = f"retry-{number}-" + failed["transaction_id"]
    return failed.assign(transaction_id=name, paid_at=moment, dt=moment.dt.date)


def _joined(rows: pd.DataFrame, new: dict[str, object]) -> pd.DataFrame:
    return pd.concat([rows, pd.DataFrame(new)])


def _edit(
    lake: Lake, source: str, days: DayRange | Sequence[dt.date], edit: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    table = lake.table(silver_table(source))
    rows = table.read(days)
    edited = edit(rows.to_pandas()).sort_values("dt", kind="stable")
    table.replace(days, pa.Table.from_pandas(edited, schema=rows.schema, preserve_index=False))
